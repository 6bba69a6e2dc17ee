"""images/programs.sh beside a Go that only writes down what it was asked."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


class Machine:
    """A checkout with the real scripts, whose `go` is ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.bin = folder / "cache/kubernetes-1.34.4/bin"
        shutil.copytree(ROOT / "images", self.images)
        shutil.copytree(ROOT / "setup", folder / "setup")
        (folder / "path").mkdir()
        # Not the one that may be installed here either.
        script = self.images / "programs.sh"
        script.write_text(script.read_text().replace("/usr/local/go/bin/go", "/nowhere/go"))
        self.go()

    def go(self, release: str = "go1.26.8", building: str = "") -> None:
        self.program(
            "go",
            f'echo "$PWD: $* ${{GOTOOLCHAIN:+by $GOTOOLCHAIN}}" >>{self.folder}/calls\n'
            'while [ $# != 0 ] && [ "$1" != -o ]; do\n'
            f"    case $1 in GOVERSION) echo {release} ;; download) {self.fetching()} ;; esac\n"
            f'    [ "$1" != list ] || {{ {self.listing()}; exit; }}\n'
            "    shift\n"
            "done\n"
            f"[ $# = 0 ] || {{ {building or ':'}\n"
            '    printf "#!/bin/sh\\n" >"$2" && chmod +x "$2"; }',
        )

    def fetching(self) -> str:
        """A toolchain as the module cache keeps it: nothing in it may be run."""
        toolchain = self.folder / "toolchain"
        return (
            f"mkdir -p {toolchain}/bin {toolchain}/pkg/tool/linux; "
            f"sed s/go1.19/go1.25.5/ {self.folder}/path/go >{toolchain}/bin/go; "
            f"touch {toolchain}/pkg/tool/linux/compile; "
            f'printf \'\\t"Dir": "{toolchain}",\\n\''
        )

    def listing(self) -> str:
        """The folder of a module's source, with the main.go of one that has backends."""
        source = self.folder / "mod/flannel@v0.28.0"
        imports = '_ "flannel/backend/tencentvpc"\\n_ "flannel/backend/udp"\\n'
        return f"mkdir -p {source}; printf 'package main\\n{imports}' >{source}/main.go; echo {source}"

    def program(self, name: str, script: str) -> None:
        file = self.folder / "path" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, *programs: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}/path:/usr/bin:/bin"
        return subprocess.run(
            [self.images / "programs.sh", *programs],
            env={"PATH": path, "SOCKLB_CACHE": str(self.folder / "cache"), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def builds(self) -> list[str]:
        file = self.folder / "calls"
        return [line for line in file.read_text().splitlines() if " -o " in line] if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_stdout_is_the_folder_and_stderr_the_progress(machine: Machine) -> None:
    done = machine.run("etcd", "kubectl")
    assert (done.returncode, done.stdout) == (0, f"{machine.bin}\n")
    assert "Building etcd (go.etcd.io/etcd/server/v3)" in done.stderr
    assert sorted(file.name for file in machine.bin.iterdir()) == ["etcd", "kubectl"]


def test_each_program_is_built_in_the_module_that_pins_it(machine: Machine) -> None:
    machine.run("etcd", "kubelet", "e2e.test")
    etcd, kubelet, suite = machine.builds()
    assert etcd.startswith(f"{machine.images}/programs/etcd: build ")
    assert kubelet.startswith(f"{machine.images}/programs/kubernetes: build ")
    assert suite.startswith(f"{machine.images}/programs/kubernetes: test -c ")


def test_the_programs_know_the_version_that_the_cluster_is_asked_for(machine: Machine) -> None:
    machine.run("kubeadm")
    (build,) = machine.builds()
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4" in build


def test_another_version_is_built_beside_it_from_its_own_modules_where_it_has_them(machine: Machine) -> None:
    done = machine.run("kubelet", "coredns", SOCKLB_KUBERNETES="v1.33.5")
    assert done.stdout == f"{machine.folder}/cache/kubernetes-1.33.5/bin\n"
    kubelet, coredns = machine.builds()
    assert kubelet.startswith(f"{machine.images}/programs/v1.33.5/kubernetes: build ")
    assert "gitVersion=v1.33.5" in kubelet
    assert coredns.startswith(f"{machine.images}/programs/coredns: build ")


def test_a_kubeadm_that_a_newer_go_breaks_is_built_by_an_older_one(machine: Machine) -> None:
    machine.run("kubeadm")
    machine.run("kubeadm", "kubelet", SOCKLB_KUBERNETES="v1.33.5")
    assert [line.partition(" by ")[2] for line in machine.builds()] == ["", "go1.24.7", ""]


def test_helm_holds_charts_against_the_clusters_version(machine: Machine) -> None:
    machine.run("helm")
    (build,) = machine.builds()
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34" in build
    assert "-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=34" in build


def test_flannel_is_built_of_its_own_main_file_without_the_backend_of_one_cloud(machine: Machine) -> None:
    done = machine.run("flanneld")
    assert done.returncode == 0, done.stderr
    (build,) = machine.builds()
    work = machine.bin.parent / "flannel"
    assert build.startswith(f"{work}: build ")
    assert "pkg/version.Version=v0.28.0" in build
    assert (work / "go.sum").read_bytes() == (machine.images / "programs/flannel/go.sum").read_bytes()
    assert (work / "main.go").read_text() == 'package main\n_ "flannel/backend/udp"\n'


def test_what_is_there_is_not_built_again_until_its_module_changes(machine: Machine) -> None:
    machine.run("etcd", "kind")
    assert machine.run("etcd", "kind").stderr == ""
    with (machine.images / "programs/etcd/go.sum").open("a") as sums:
        sums.write("another line\n")
    assert "Building etcd" in machine.run("etcd", "kind").stderr
    assert [line.partition(": ")[0].rpartition("/")[2] for line in machine.builds()] == ["etcd", "kind", "etcd"]


def test_what_is_there_waits_for_nobody_elses_build(machine: Machine) -> None:
    machine.run("etcd")
    with (machine.bin.parent / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run("etcd").stdout == f"{machine.bin}\n"


def test_a_failed_build_shows_its_last_lines_and_leaves_the_old_program(machine: Machine) -> None:
    machine.run("etcd")
    before = (machine.bin / "etcd").read_bytes()
    (machine.images / "programs/etcd/go.sum").write_text("")
    machine.go(building="echo no space left on device; exit 1")
    done = machine.run("etcd")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert "etcd could not be built" in done.stderr
    assert (machine.bin / "etcd").read_bytes() == before
    machine.go()
    assert "Building etcd" in machine.run("etcd").stderr


def test_an_unknown_program_is_named_with_those_that_are_known(machine: Machine) -> None:
    done = machine.run("kubelte")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'no program "kubelte"' in done.stderr
    assert "kubelet" in done.stderr


def test_a_go_that_is_too_old_fetches_a_newer_one(machine: Machine) -> None:
    machine.go(release="go1.19")
    done = machine.run("etcd")
    assert done.returncode == 0, done.stderr
    assert "Fetching go1.25.5" in done.stderr
    assert (machine.folder / "cache/go/pkg/tool/linux/compile").stat().st_mode & 0o111
    assert "Fetching" not in machine.run("kind").stderr


def test_without_any_go_the_distributions_own_is_installed_to_fetch_one(machine: Machine) -> None:
    old = machine.folder / "path/go"
    machine.go(release="go1.19")
    moved = old.rename(machine.folder / "packaged-go")
    script = machine.folder / "setup/packages.sh"
    script.write_text(f'#!/bin/sh\necho "packages.sh $*"\ncp {moved} {old}\n')
    done = machine.run("etcd")
    assert done.returncode == 0, done.stderr
    assert "packages.sh setup/apt-go.txt" in done.stderr
    assert done.stdout == f"{machine.bin}\n"
