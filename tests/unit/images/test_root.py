"""images/root.sh beside a debootstrap that makes a root of three files. Needs root, for the mount namespace."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[3] / "images"


class Machine:
    """The real script with lists of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        for name in ("agent", "path"):
            (folder / "images" / name).mkdir(parents=True)
        for name in ("root.sh", "names.sh"):
            shutil.copy(IMAGES / name, self.images)
        self.packages = self.images / "agent/packages.txt"
        self.packages.write_text("# why\npython3 # runs it\nlibbpf1\n")
        self.debootstrap(
            f'echo "$@" >>{folder}/calls; for root; do :; done\n'
            "mkdir -p $root/usr/bin $root/etc $root/var/cache/apt $root/usr/share/doc/x\n"
            "echo machine >$root/etc/hostname; echo 123 >$root/etc/machine-id; echo x >$root/usr/bin/python3\n"
            "touch $root/var/cache/apt/x.bin $root/usr/share/doc/x/copyright"
        )

    def debootstrap(self, script: str) -> None:
        file = self.images / "path/debootstrap"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, *suite: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.images}/path:/usr/bin:/bin", "SOCKLB_CACHE": str(self.folder / "cache")}
        command = [self.images / "root.sh", "agent", *suite]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_packages_of_the_list_are_installed_and_the_layer_is_named_on_stdout(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "--include=python3,libbpf1 " in machine.calls()[0]
    with tarfile.open(done.stdout.strip()) as layer:
        assert "./usr/bin/python3" in layer.getnames()


def test_what_belongs_to_one_machine_or_is_never_read_is_not_in_it(machine: Machine) -> None:
    with tarfile.open(machine.run().stdout.strip()) as layer:
        names = layer.getnames()
        assert layer.getmember("./etc/machine-id").size == 0
    assert not {"./etc/hostname", "./var/cache/apt/x.bin", "./usr/share/doc/x/copyright"} & set(names)


def test_it_is_made_again_only_when_the_list_changes_and_the_old_one_goes(machine: Machine) -> None:
    first = machine.run().stdout
    assert machine.run().stdout == first
    assert len(machine.calls()) == 1
    machine.packages.write_text("python3\n")
    second = machine.run().stdout
    assert len(machine.calls()) == 2
    assert [str(file) for file in (machine.folder / "cache/roots").glob("*.gz")] == [second.strip()]


def test_the_root_of_another_debian_stands_beside_the_first(machine: Machine) -> None:
    first = machine.run().stdout.strip()
    other = machine.run("trixie").stdout.strip()
    assert " trixie " in machine.calls()[1]
    assert Path(first).exists()
    assert Path(other).exists()
    assert first != other


def test_a_failure_shows_the_last_lines_and_leaves_no_layer(machine: Machine) -> None:
    machine.debootstrap("echo E: no such package >&2; exit 1")
    done = machine.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "E: no such package" in done.stderr
    assert "debootstrap failed" in done.stderr
    assert {file.name for file in (machine.folder / "cache/roots").iterdir()} == {
        "agent-bookworm.lock",
        "agent-bookworm.log",
    }
