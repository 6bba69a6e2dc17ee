"""tests/kernels/get.sh with an apt and a dpkg that are ours."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SUITE = "bookworm-security"
OLD, NEW = "6.1.0-55-cloud-amd64", "6.1.0-56-cloud-amd64"


class Mirror:
    """What `apt` finds."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self._path = folder / "path"
        self._path.mkdir()
        for folder_of in ("tests/kernels", "images"):
            shutil.copytree(ROOT / folder_of, folder / folder_of)
        self.script = folder / "tests/kernels/get.sh"
        # Not the one of this machine, which would look into what is no kernel.
        self.script.write_text(self.script.read_text().replace("/sbin/depmod", "depmod"))
        self._program("depmod", "true")
        self._program("dpkg", 'mkdir -p "$3/boot" "$3/lib/modules" && cp "$2" "$3/boot"')
        self.has(NEW)

    def _program(self, name: str, script: str) -> None:
        program = self._path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def has(self, release: str, *parts: str) -> None:
        newest, of_it = depends(f"linux-image-{release}", f"linux-image-{release}-unsigned"), depends("kmod", *parts)
        self._program(
            "apt-cache", f"case $* in *linux-image-cloud-amd64) printf '{newest}' ;; *) printf '{of_it}' ;; esac"
        )
        self._program(
            "apt-get", 'case $* in *update*) ;; *) for p in "$@"; do case $p in linux-*) : >$p.deb;; esac; done;; esac'
        )

    def is_down(self) -> None:
        self._program("apt-get", "echo 'E: The repository has no Release file.' >&2; exit 100")

    def get(self) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self._path}:{os.environ['PATH']}", "SOCKLB_CACHE": str(self.cache)}
        return subprocess.run([self.script, SUITE], env=environment, capture_output=True, text=True, check=False)


def depends(*packages: str) -> str:
    """What `apt-cache depends` says of a package, for printf."""
    return "".join(f"  Depends: {package}\\n" for package in packages)


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path)


def kernels(mirror: Mirror) -> set[str]:
    return {path.name for path in (mirror.cache / "kernels" / SUITE).glob("*-amd64")}


def test_the_newest_kernel_is_unpacked_once_and_takes_the_place_of_the_one_before(mirror: Mirror) -> None:
    mirror.has(OLD)
    first = mirror.get()
    assert first.stdout.strip() == str(mirror.cache / "kernels" / SUITE / OLD)
    assert f"Fetching Linux {OLD}" in first.stderr
    again = mirror.get()
    assert (again.stdout, again.stderr) == (first.stdout, "")
    mirror.has(NEW)
    assert mirror.get().stdout.strip().endswith(NEW)
    assert kernels(mirror) == {NEW}


def test_the_parts_of_a_kernel_are_unpacked_with_it(mirror: Mirror) -> None:
    mirror.has(NEW, f"linux-binary-{NEW}", f"linux-modules-{NEW}", "linux-base")
    boot = Path(mirror.get().stdout.strip()) / "boot"
    assert {path.name for path in boot.iterdir()} == {
        f"linux-{part}-{NEW}.deb" for part in ("image", "binary", "modules")
    }


def test_where_a_suite_cannot_be_asked_the_kernel_of_before_is_used(mirror: Mirror) -> None:
    before = mirror.get().stdout
    mirror.is_down()
    done = mirror.get()
    assert (done.returncode, done.stdout) == (0, before)
    assert "cannot be asked; its kernel of before is used" in done.stderr


def test_a_suite_that_cannot_be_had_is_one_clear_sentence(mirror: Mirror) -> None:
    mirror.is_down()
    done = mirror.get()
    assert done.returncode == 1
    assert done.stderr == (
        f"tests/kernels/get.sh: suite {SUITE} of Debian cannot be had: E: The repository has no Release file.\n"
    )
