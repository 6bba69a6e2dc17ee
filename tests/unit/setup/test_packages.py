"""setup/packages.sh beside a package manager that only writes down what it was asked and saw.

The real /usr/sbin stays out of it: each run has a mount namespace of its own, with an empty directory there.
"""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[3] / "setup"
POLICY = "usr-sbin/policy-rc.d"


class Distribution:
    """Knows `known`, has `installed`; its apt-get writes to the file `calls`."""

    def __init__(self, folder: Path, listed: str, known: str = "", installed: str = "") -> None:
        self.folder = folder
        for name in ("project", "bin", "usr-sbin"):
            (folder / name).mkdir()
        shutil.copytree(SETUP, folder / "project/setup")
        (folder / "project/setup/apt-packages.txt").write_text(listed)
        self.program("dpkg-query", "".join(f"echo {name} installed; " for name in installed.split()))
        self.program("apt-cache", f'case " {known} " in *" $2 "*) echo "  Candidate: 1.0" ;; esac')
        self.apt("exit 0")

    def apt(self, installing: str) -> None:
        note = f'{{ echo "$@"; /usr/sbin/policy-rc.d; echo policy $?; }} >>{self.folder}/calls 2>&1'
        self.program("apt-get", f'{note}\ncase "$*" in *install*) {installing} ;; esac')

    def program(self, name: str, script: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        hide_sbin = f"mount --bind {self.folder}/usr-sbin /usr/sbin; PATH={self.folder}/bin:/usr/bin:/bin"
        start = f"{hide_sbin}; exec sh {self.folder}/project/setup/packages.sh {shlex.join(arguments)}"
        command = ["unshare", "--mount", "sh", "-ec", start]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def calls(self) -> str:
        file = self.folder / "calls"
        return file.read_text() if file.exists() else ""


def test_with_everything_installed_apt_is_not_asked(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "curl # client\nlibbpf1 | libbpf0 # either\n", installed="curl libbpf0")
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.calls() == ""


def test_a_python_that_is_too_old_is_none(tmp_path: Path) -> None:
    """Ubuntu 22.04: uv would fetch another from GitHub, which not every machine reaches."""
    lines = (SETUP / "apt-packages.txt").read_text().splitlines(keepends=True)
    listed = "".join(line for line in lines if line.startswith(("python3 ", "python3.", "python3-venv")))
    machine = Distribution(tmp_path, listed, known="python3.11 python3.12", installed="python3 python3-venv")
    assert machine.run().returncode == 0
    assert " install python3.11\n" in machine.calls()


def test_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "# why\n\ncurl # client\ntini # reaps\n", known="curl tini", installed="curl")
    assert machine.run().returncode == 0
    (install,) = [line for line in machine.calls().splitlines() if " install " in line]
    assert install.endswith("install tini")


@pytest.mark.parametrize(("known", "chosen"), [("libbpf1 libbpf0", "libbpf1"), ("libbpf0", "libbpf0")])
def test_the_first_alternative_that_the_distribution_has_is_chosen(tmp_path: Path, known: str, chosen: str) -> None:
    machine = Distribution(tmp_path, "libbpf1 | libbpf0 # either\n", known=known)
    assert machine.run().returncode == 0
    assert f"install {chosen}\n" in machine.calls()


def test_a_package_that_the_distribution_lacks_is_named_and_nothing_is_installed(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "curl\ntini\n", known="curl")
    done = machine.run()
    assert done.returncode != 0
    assert '"tini"' in done.stderr
    assert "universe" in done.stderr
    assert " install " not in machine.calls()


def test_no_service_may_start_while_apt_runs_and_the_ban_ends_with_it(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "nginx\n", known="nginx")
    assert machine.run().returncode == 0
    assert machine.calls().count("policy 101") == 2
    assert not (tmp_path / POLICY).exists()


def test_the_ban_ends_when_apt_fails_too_and_its_words_are_shown(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "nginx\n", known="nginx")
    machine.apt("echo E: no space left >&2; exit 100")
    done = machine.run()
    assert done.returncode == 100
    assert "E: no space left" in done.stderr
    assert not (tmp_path / POLICY).exists()


def test_an_administrators_own_ban_is_left_alone(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "nginx\n", known="nginx")
    own = tmp_path / POLICY
    own.write_text("#!/bin/sh\nexit 104\n")
    own.chmod(0o755)
    assert machine.run().returncode == 0
    assert "policy 104" in machine.calls()
    assert own.read_text() == "#!/bin/sh\nexit 104\n"


def test_the_ban_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "nginx\n", known="nginx")
    machine.apt(f"cp /usr/sbin/policy-rc.d {shlex.quote(str(tmp_path))}/left-behind")
    assert machine.run().returncode == 0
    (tmp_path / "left-behind").rename(tmp_path / POLICY)
    assert machine.run().returncode == 0
    assert not (tmp_path / POLICY).exists()


@pytest.mark.parametrize("list_of_packages", sorted(SETUP.glob("apt-*.txt")), ids=lambda file: file.name)
def test_a_list_says_why_each_package_is_there(list_of_packages: Path) -> None:
    for line in list_of_packages.read_text().splitlines():
        assert not line or line.startswith("#") or " # " in line, f"no reason given: {line}"


def test_another_list_can_be_named(tmp_path: Path) -> None:
    machine = Distribution(tmp_path, "curl # client\n", known="curl debootstrap")
    (tmp_path / "project/setup/apt-more.txt").write_text("debootstrap # roots\n")
    assert machine.run("setup/apt-more.txt").returncode == 0
    (install,) = [line for line in machine.calls().splitlines() if " install " in line]
    assert install.endswith("install debootstrap")
