"""tests/run.py, by which `make test` runs all tiers, on a project with a test in each."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TIERS = ("unit", "datapath", "packets", "kube", "cluster", "nodes", "labs", "e2e")
WAITS = """
import pathlib, time, pytest
@pytest.fixture
def place():
    made = pathlib.Path(__file__).with_suffix(".made")
    made.touch()
    yield
    made.unlink()
def test_long(place):
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for tier in TIERS:
        (tmp_path / "tests" / tier).mkdir(parents=True)
        (tmp_path / "tests" / tier / f"test_{tier}.py").write_text("def test_it():\n    pass\n")
    shutil.copy(ROOT / "tests/run.py", tmp_path / "tests")
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(project / "tests/run.py"), *arguments]
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=project, text=True, start_new_session=True, **out)


def test_all_tiers_are_run_and_those_beside_are_shown_at_the_end(project: Path) -> None:
    with start(project) as running:
        told, _ = running.communicate()
    assert running.returncode == 0, told
    first, _, beside = told.partition("build/log/beside.log:")
    assert "5 passed" in first
    assert "tests/e2e/test_e2e.py ." in beside
    assert "3 passed" in beside


def test_no_tier_is_left_out() -> None:
    assert {*TIERS} == {file.parent.name for file in ROOT.glob("tests/*/conftest.py")} | {"unit"}


@pytest.mark.parametrize("tier", ["labs", "e2e"])
def test_one_that_fails_fails_all(project: Path, tier: str) -> None:
    (project / "tests" / tier / f"test_{tier}.py").write_text("def test_it():\n    assert not 'wrong'\n")
    with start(project) as running:
        told, _ = running.communicate()
    assert running.returncode == 1
    assert f"FAILED tests/{tier}/test_{tier}.py::test_it" in told
    assert ("5 passed" in told) == (tier == "e2e")


def test_with_arguments_it_is_one_run_of_pytest(project: Path) -> None:
    with start(project, "-q", "-k", "e2e or labs") as running:
        told, _ = running.communicate()
    assert running.returncode == 0
    assert "2 passed, 6 deselected" in told


def test_what_both_made_is_gone_after_ctrl_c(project: Path) -> None:
    files = [project / "tests" / tier / f"test_{tier}.py" for tier in ("datapath", "e2e")]
    for file in files:
        file.write_text(WAITS)
    with start(project) as running:
        until_there(*(file.with_suffix(".made") for file in files))
        os.killpg(running.pid, signal.SIGINT)
        told, _ = running.communicate()
    assert running.returncode != 0
    assert "Waiting for both to clear away what they made" in told
    assert [file for file in files if file.with_suffix(".made").exists()] == []


def until_there(*paths: Path) -> None:
    end = time.monotonic() + 30
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end
        time.sleep(0.05)
