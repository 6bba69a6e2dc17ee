"""roles/kubernetes_packages: which version is taken, and what is said where one cannot be had. Run by sh, as there."""

import subprocess
from pathlib import Path

import pytest

from roles.kubernetes_packages import is_there
from roles.kubernetes_packages.facts import Unreachable


def sh(command: str, programs: Path) -> subprocess.CompletedProcess[str]:
    path = {"PATH": str(programs)}
    return subprocess.run(["/bin/sh", "-c", command], env=path, capture_output=True, text=True, check=False)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with few programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cut", "tr", "grep", "paste", "cat"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


def program(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("1.34", True),
        ("1.34.10", True),
        ("1.34.1", False),
        ("1.3", False),
        ("1.33.2", True),
        ("1.33", True),
        ("1.35", False),
    ],
)
def test_a_version_is_there_or_those_that_are_there_are_said(programs: Path, wanted: str, there: bool) -> None:
    lines = "   kubelet | 1.34.10-1.1 | https://pkgs.k8s.io/…  Packages\n   kubelet | 1.33.2~rc1 | file:/…  Packages"
    program(programs, "apt-cache", f"cat <<'E'\n{lines}\nE")
    done = sh(is_there("kubelet", wanted), programs)
    assert (done.returncode == 0) == there
    if not there:
        assert f"no kubelet {wanted} in the package sources, only: 1.34.10-1.1 1.33.2~rc1. Next: " in done.stderr


@pytest.mark.parametrize("name", ["curl", "wget"])
def test_an_address_is_asked_by_the_program_that_is_there(programs: Path, name: str) -> None:
    address = "https://pkgs.k8s.io/core:/stable:/v1.99/deb/Release.key"
    for script, why in (("exit 0", ""), ("echo 404 >&2; exit 22", "404"), ("exit 6", "no answer")):
        program(programs, name, script)
        done = sh(Unreachable().command(address), programs)
        assert done.returncode == 0
        assert Unreachable().process(done.stdout.splitlines()) == why


def test_without_such_a_program_that_is_what_is_said(programs: Path) -> None:
    done = sh(Unreachable().command("https://pkgs.k8s.io/"), programs)
    assert Unreachable().process(done.stdout.splitlines()) == "neither curl nor wget is installed"
