"""What the set-up says to somebody who is not root, and at its end."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a user finds where root has worked before: files of root's, which he may read."""
    made = tmp_path / "checkout"
    shutil.copytree(ROOT / "setup", made / "setup")
    shutil.copy(ROOT / "Makefile", made)
    (made / "build/log").mkdir(parents=True)
    (made / "build/log/uv-sync.log").write_text("a log of an earlier run\n")
    for folder in (made, *made.parents):
        if folder.is_relative_to(tmp_path.parents[1]):
            folder.chmod(0o755)
    return made


def as_nobody(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NOBODY, *command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["uv-sync", "new"])
def test_a_log_that_cannot_be_written_is_told_and_no_earlier_one_shown(checkout: Path, name: str) -> None:
    done = as_nobody("sh", "setup/step.sh", name, "Doing it", "true", cwd=checkout)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"setup/step.sh: build/log/{name}.log cannot be written: it is not this user's. Next: ")
    assert done.stdout == ""


def test_make_teardown_asks_for_root_before_anything_else(checkout: Path) -> None:
    done = as_nobody("make", "teardown", cwd=checkout)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "make teardown: only root can remove the nodes. Next: sudo make teardown"
    assert "FAILED" not in done.stderr


def test_make_lab_ends_with_what_to_type_next() -> None:
    said = subprocess.run(["make", "-n", "-o", "ready", "lab"], cwd=ROOT, capture_output=True, text=True, check=True)
    after = said.stdout.partition("lab run 01\n")[2]
    shown = subprocess.run(["sh", "-c", after], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split("  ")[1] for line in shown[2:]] == [
        "source .venv/bin/activate",
        "lab report 01",
        "lab start 01",
        "lab exec w1 -- socklb status",
        "make teardown",
    ]
