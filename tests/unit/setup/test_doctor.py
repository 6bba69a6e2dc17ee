"""setup/doctor.sh, run for real: on this machine, and on machines from which one prerequisite was taken away.

Such a machine is a copy of what doctor.sh reads (SOCKLB_DOCTOR_ROOT) and a PATH of its own, less one thing.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from socklb.datapath import features
from socklb.tc import attached, tcx

DOCTOR = Path(__file__).parents[3] / "setup/doctor.sh"
RELEASE = "6.1.0-18-amd64"
CLSACT = ("clsact_init", "cls_bpf_classify")
FILES = {
    "proc/filesystems": "nodev\tsysfs\nnodev\tcgroup2\nnodev\tbpf\n\text4\nnodev\toverlay\n",
    "proc/kallsyms": "".join(
        f"0000 t {symbol}\n" for symbol in ("veth_newlink", "br_dev_newlink", "tun_chr_open", *CLSACT)
    ),
    "proc/meminfo": "MemTotal:        2014000 kB\nMemAvailable:    1014000 kB\n",
    "proc/self/mountinfo": "24 31 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    "proc/self/status": "Name:\tsh\nCapEff:\t000001ffffffffff\n",
    "sys/kernel/btf/vmlinux": "",
}


class Machine(NamedTuple):
    root: Path
    programs: Path

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def program(self, name: str, script: str) -> None:
        file = self.programs / name
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def uname(self, *, release: str = RELEASE, machine: str = "x86_64") -> None:
        self.program("uname", f"case $1 in -r) echo {release} ;; -m) echo {machine} ;; esac")

    def disk(self, free: int) -> None:
        rows = "Filesystem 1024-blocks Used Available Capacity Mounted", f"/dev/sda1 100000000 5000 {free} 20% /"
        self.program("df", "\n".join(f"echo '{row}'" for row in rows))

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), "SOCKLB_DOCTOR_ROOT": str(self.root)}
        return run("/bin/sh", str(DOCTOR), *options, env=environment)


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that has everything, and on whose PATH nothing is but what a base system has."""
    made = Machine(tmp_path / "root", tmp_path / "bin")
    made.programs.mkdir()
    for name in ("sed", "grep", "head"):
        (made.programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    made.program("id", "echo 0")
    made.program("apt-get", "exit 0")
    made.disk(9_000_000)
    made.uname()
    for path, text in FILES.items():
        made.write(path, text)
    for kind in ("cgroup", "mnt", "net", "pid", "uts"):
        made.write(f"proc/self/ns/{kind}", "")
    return made


def remove(path: str) -> Callable[[Machine], None]:
    return lambda machine: (machine.root / path).unlink()


def replace(path: str, old: str, new: str = "") -> Callable[[Machine], None]:
    return lambda machine: machine.write(path, FILES[path].replace(old, new))


class Lack(NamedTuple):
    take_away: Callable[[Machine], None]
    prerequisite: str
    says: str


LACKS = {
    "not root": Lack(lambda m: m.program("id", "echo 1000"), "root", "user id 1000"),
    "kernel 5.9": Lack(lambda m: m.uname(release="5.9.16-arch1"), "kernel", "5.9.16"),
    "kernel 4.19": Lack(lambda m: m.uname(release="4.19.0-26-amd64"), "kernel", "4.19.0"),
    "32-bit ARM": Lack(lambda m: m.uname(machine="armv7l"), "architecture", "armv7l"),
    "cgroup v2 read-only": Lack(
        replace("proc/self/mountinfo", "rw,nosuid", "ro,nosuid"),
        "cgroup v2",
        "mounted read-only on /sys/fs/cgroup",
    ),
    "cgroup v2 not mounted": Lack(
        lambda m: m.write("proc/self/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), "cgroup v2", "not mounted"
    ),
    "no bpf file system": Lack(replace("proc/filesystems", "nodev\tbpf\n"), "bpffs", "no file system type bpf"),
    "no BTF": Lack(remove("sys/kernel/btf/vmlinux"), "BTF", "no /sys/kernel/btf/vmlinux"),
    "a container without CAP_SYS_ADMIN": Lack(
        replace("proc/self/status", "1ffffffffff", "1ffffdfffff"), "capabilities", "no CAP_SYS_ADMIN"
    ),
    "a container without CAP_NET_ADMIN": Lack(
        replace("proc/self/status", "1ffffffffff", "1ffffffefff"), "capabilities", "no CAP_NET_ADMIN"
    ),
    "no network namespaces": Lack(remove("proc/self/ns/net"), "namespaces", "no net"),
    "no overlayfs": Lack(
        replace("proc/filesystems", "nodev\toverlay\n"),
        "overlayfs",
        f"no module overlay in /lib/modules/{RELEASE}",
    ),
    "no veth": Lack(replace("proc/kallsyms", "veth_newlink"), "veth", "no module veth"),
    "no bridge": Lack(replace("proc/kallsyms", "br_dev_newlink"), "bridge", "no module bridge"),
    "no apt": Lack(lambda m: (m.programs / "apt-get").unlink(), "apt-get", "no apt-get on PATH"),
}


def test_a_machine_with_everything_is_fine(machine: Machine) -> None:
    quiet = machine.doctor("--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    table = machine.doctor()
    assert table.returncode == 0
    assert "MISSING" not in table.stdout
    assert "NOTE" not in table.stdout
    assert "8789 MB are free" in table.stdout
    assert "990 MB are available" in table.stdout


@pytest.mark.parametrize(
    ("take_away", "name", "says"),
    [
        (replace("proc/kallsyms", "cls_bpf"), "tc", "no tcx, no cls_bpf"),
        (replace("proc/kallsyms", "cl"), "tc", "no tcx, no sch_ingress cls_bpf"),
        (replace("proc/kallsyms", "tun_chr_open"), "tun", "no module tun"),
        (lambda m: m.disk(1_000_000), "disk", "976 MB are free here (2000 are needed the first time)"),
        (replace("proc/meminfo", "1014000", "101400"), "memory", "99 MB are available (500 are needed)"),
    ],
    ids=["no bpf classifier", "neither tcx nor clsact", "no tun", "a full disk", "little memory"],
)
def test_what_is_short_or_missing_for_a_part_is_noted_and_stops_nothing(
    machine: Machine, take_away: Callable[[Machine], None], name: str, says: str
) -> None:
    take_away(machine)
    table = machine.doctor()
    assert table.returncode == 0
    (row,) = [line for line in table.stdout.splitlines() if line.startswith("NOTE")]
    assert name in row
    assert says in row
    assert "remedy: " in table.stdout
    assert machine.doctor("--quiet").stderr == ""


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS.keys())
def test_what_is_missing_is_one_line_with_its_remedy(machine: Machine, lack: Lack) -> None:
    lack.take_away(machine)
    done = machine.doctor("--quiet")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"socklb cannot run here: {lack.prerequisite}: ")
    assert lack.says in line
    assert ". Remedy: " in line


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS.keys())
def test_the_table_shows_what_is_missing_beside_what_is_there(machine: Machine, lack: Lack) -> None:
    lack.take_away(machine)
    done = machine.doctor()
    assert done.returncode == 1
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("MISSING")]
    assert lack.prerequisite in row
    assert lack.says in row
    assert done.stdout.count("\nok ") == 15
    assert "remedy: " in done.stdout


def test_two_missing_things_are_two_lines(machine: Machine) -> None:
    LACKS["no BTF"].take_away(machine)
    LACKS["no veth"].take_away(machine)
    assert len(machine.doctor("--quiet").stderr.splitlines()) == 2


def test_cgroup_v2_beside_v1_is_found(machine: Machine) -> None:
    """A hybrid hierarchy; and a mount without the optional fields of mountinfo."""
    machine.write(
        "proc/self/mountinfo",
        "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
    )
    assert "mounted on /sys/fs/cgroup/unified" in machine.doctor().stdout


@pytest.mark.parametrize("listing", ["modules.dep", "modules.builtin"])
def test_a_driver_that_is_not_loaded_yet_counts(machine: Machine, listing: str) -> None:
    machine.write("proc/kallsyms", "".join(f"0000 t {symbol}\n" for symbol in CLSACT))
    machine.write("proc/filesystems", FILES["proc/filesystems"].replace("nodev\toverlay\n", ""))
    machine.write(
        f"lib/modules/{RELEASE}/{listing}",
        "kernel/drivers/net/veth.ko.xz:\nkernel/net/bridge/bridge.ko.xz:\nkernel/fs/overlayfs/overlay.ko:\n",
    )
    done = machine.doctor()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("can be loaded") == 3


def test_a_wrong_option_is_told_apart_from_a_missing_prerequisite(machine: Machine) -> None:
    done = machine.doctor("--verbose")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_this_machine_runs_the_suite_so_it_has_everything() -> None:
    done = run("/bin/sh", str(DOCTOR))
    assert done.returncode == 0, done.stdout


def test_an_ordinary_user_is_told_to_become_root() -> None:
    done = run(
        "setpriv",
        "--reuid",
        "65534",
        "--clear-groups",
        "/bin/sh",
        "-c",
        DOCTOR.read_text(),
        "doctor.sh",
        "--quiet",
    )
    assert done.returncode == 1
    assert "root: user id 65534" in done.stderr
    assert "sudo make lab" in done.stderr


def test_make_lab_stops_at_the_doctor_before_it_changes_anything(machine: Machine, tmp_path: Path) -> None:
    """The real Makefile in a copy of its own: nothing is installed and no file appears."""
    project = tmp_path / "project"
    shutil.copytree(DOCTOR.parent, project / "setup")
    shutil.copy(DOCTOR.parents[1] / "Makefile", project)
    LACKS["no BTF"].take_away(machine)
    before = sorted(project.rglob("*"))
    done = subprocess.run(
        ["make", "-C", str(project), "lab"],
        env=os.environ | {"SOCKLB_DOCTOR_ROOT": str(machine.root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "BTF: no /sys/kernel/btf/vmlinux" in done.stderr
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(
    ("release", "lacks"),
    [
        ("6.8.0-31-generic", []),
        ("6.1.0-18-amd64", [tcx.FEATURE]),
        ("5.15.0-91-generic", [tcx.FEATURE, features.SET_ERRNO]),
        (
            "5.10.0-46-amd64",
            [
                tcx.FEATURE,
                features.SET_ERRNO,
                features.NETNS_COOKIE,
                attached.UNPACKED_TUNNELS,
                features.COMPARE_AND_SWAP,
            ],
        ),
    ],
)
def test_what_an_older_kernel_may_lack_is_told_with_what_it_costs_and_stops_nothing(
    machine: Machine, release: str, lacks: list[features.Feature]
) -> None:
    machine.uname(release=release)
    done = machine.doctor()
    assert done.returncode == 0
    told = [line.partition("may lack ")[2] for line in done.stdout.splitlines() if " may lack " in line]
    assert told == [str(feature) for feature in lacks]
