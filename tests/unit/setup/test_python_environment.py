"""setup/python.sh: .venv/ follows uv.lock, and a run with nothing to do asks uv nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[3] / "setup"


class Checkout:
    """A project whose environment is not locked yet, beside a uv that only writes down its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SETUP, folder / "setup")
        (folder / "socklb").mkdir()
        for path in ("pyproject.toml", "uv.lock", "socklb/__init__.py"):
            (folder / path).write_text("")
        self.python = folder / ".venv/bin/python"
        self.python.parent.mkdir(parents=True)
        self.python.symlink_to(sys.executable)
        self.uv_says("uv 999.0.1")

    def uv_says(self, version: str) -> None:
        file = self.folder / "bin/uv"
        file.parent.mkdir(exist_ok=True)
        answer = f'[ "$1" != --version ] || {{ echo "{version}"; exit; }}'
        into = f'echo "$UV_PROJECT_ENVIRONMENT" >{self.folder}/environment'
        file.write_text(f'#!/bin/sh\n{answer}\necho "$@" >>{self.folder}/calls\n{into}\n')
        file.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").write_text("")
        return subprocess.run(
            ["/bin/sh", str(self.folder / "setup/python.sh"), *arguments],
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def environment(self) -> str:
        """Return the folder that uv was last told to bring up to date."""
        return (self.folder / "environment").read_text().strip()

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    assert made.run().returncode == 0
    assert made.calls() == ["sync --locked --compile-bytecode"]
    return made


def test_a_second_run_has_nothing_to_do(checkout: Checkout) -> None:
    done = checkout.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checkout.calls() == []


@pytest.mark.parametrize("changed", ["pyproject.toml", "uv.lock", "socklb/__init__.py"])
def test_a_changed_input_is_followed(checkout: Checkout, changed: str) -> None:
    (checkout.folder / changed).write_text('__version__ = "another"\n')
    checkout.run()
    assert checkout.calls() == ["sync --locked --compile-bytecode"]


def test_what_builds_the_site_has_an_environment_of_its_own(checkout: Checkout) -> None:
    (checkout.folder / "build/docs-venv/bin").mkdir(parents=True)
    assert checkout.run("docs").returncode == 0
    assert checkout.calls() == ["sync --locked --compile-bytecode --only-group docs"]
    assert checkout.environment() == f"{checkout.folder}/build/docs-venv"
    (checkout.folder / "build/docs-venv/bin/python").symlink_to(sys.executable)
    checkout.run("docs")
    assert checkout.calls() == []
    checkout.run()
    assert checkout.calls() == []


def test_what_fuzzes_has_an_environment_of_its_own(checkout: Checkout) -> None:
    (checkout.folder / "build/fuzz-venv").mkdir(parents=True)
    assert checkout.run("fuzz").returncode == 0
    groups = "--no-default-groups --group kit --group test --group fuzz"
    assert checkout.calls() == [f"sync --locked --compile-bytecode {groups}"]
    assert checkout.environment() == f"{checkout.folder}/build/fuzz-venv"


def test_an_environment_whose_interpreter_is_gone_is_made_again(checkout: Checkout) -> None:
    checkout.python.unlink()
    checkout.python.symlink_to("/usr/bin/python3.0")
    checkout.run()
    assert checkout.calls() == ["sync --locked --compile-bytecode"]


def test_other_uses_of_uv_pass_through(checkout: Checkout) -> None:
    checkout.run("uv", "build", "--wheel")
    assert checkout.calls() == ["build --wheel"]


def test_an_older_uv_is_not_used(checkout: Checkout) -> None:
    """It goes on to make .tools/, which fails here: there is no network in a python3 that is none."""
    checkout.uv_says("uv 0.4.30")
    (checkout.folder / "bin/python3").write_text("#!/bin/sh\necho asked for $*\nexit 7\n")
    (checkout.folder / "bin/python3").chmod(0o755)
    (checkout.folder / "uv.lock").write_text("# another\n")
    done = checkout.run()
    assert done.returncode != 0
    assert "asked for -m venv .tools" in done.stderr
    assert checkout.calls() == []
