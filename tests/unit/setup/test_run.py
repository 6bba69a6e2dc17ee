"""tests/run.py, by which `make test` runs all tiers, on a project with a test in each."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.run import RUNS, SLOWEST, files
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
TIERS = ("unit", "datapath", "packets", "tc", "kube", "cluster", "nodes", "labs", "e2e", "chaos", "upgrades")
APART = {"e2e_ssh", "kernels"}  # longer than CI has, or for other kernels: make e2e-ssh, make kernels
WAITS = """
import pathlib, time, pytest
from tests.support.waiting import until
@pytest.fixture
def place():
    made = pathlib.Path(__file__).with_suffix(".made")
    yield made
    made.unlink()
def test_long(place):
    place.touch()
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for tier in TIERS:
        (tmp_path / "tests" / tier).mkdir(parents=True)
        (tmp_path / "tests" / tier / f"test_{tier}.py").write_text("def test_it():\n    pass\n")
    shutil.copy(tmp_path / "tests/datapath/test_datapath.py", tmp_path / "tests/datapath/test_other_half.py")
    shutil.copy(ROOT / "tests/run.py", tmp_path / "tests")
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(project / "tests/run.py"), *arguments]
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # none is needed, and they are half of a start
    return subprocess.Popen(command, cwd=project, env=environment, text=True, start_new_session=True, **out)


def test_all_tiers_are_run_and_those_beside_are_shown_at_the_end(project: Path) -> None:
    with start(project) as running:
        told, _ = running.communicate()
    assert running.returncode == 0, told
    for tier in TIERS:
        assert f"tests/{tier}/test_{tier}.py ." in told
    passed = re.findall(r"(\d+) passed", told)
    assert sorted(passed) == sorted(str(len(words)) for words in RUNS.values())


def test_the_slowest_tests_and_the_time_of_each_run_stand_at_the_end(project: Path) -> None:
    (project / "tests/kube/test_kube.py").write_text("import time\ndef test_it():\n    time.sleep(0.7)\n")
    with start(project) as running:
        told, _ = running.communicate()
    slowest, runs = told.partition("The 10 slowest tests:\n")[2].split("The runs:\n")
    assert len(slowest.splitlines()) == min(SLOWEST, len(TIERS) + 1)
    assert re.fullmatch(r" +0\.[789] s  tests\.kube\.test_kube\.test_it", slowest.splitlines()[0])
    assert {line.partition(" s  ")[2] for line in runs.splitlines()} >= {
        "tests/cluster, tests/nodes, tests/labs: passed",
        "tests/e2e: passed",
    }


def test_the_run_that_took_longest_the_last_time_begins_first(project: Path) -> None:
    (project / "build").mkdir()
    for tier, seconds in {**dict.fromkeys(RUNS, 1), "e2e": 2, "cluster": 3, "packets": 900}.items():
        report = f'<testsuites><testsuite><testcase classname="a" name="b" time="{seconds}"/></testsuite></testsuites>'
        (project / f"build/junit-{tier}.xml").write_text(report)
    with start(project) as running:
        told, _ = running.communicate()
    assert re.findall(r"^tests/(\w+).*into build/log/", told, re.MULTILINE)[:2] == ["packets", "cluster"]


@pytest.mark.parametrize(("spare", "begun"), [("-1", len(RUNS)), ("2", 1)], ids=["idle cores", "busy cores"])
def test_while_cores_are_idle_another_run_begins(project: Path, spare: str, begun: int) -> None:
    """Of the time of all cores more than nothing is idle, and never twice of it."""
    script = project / "tests/run.py"
    words = re.sub(r"^(AT_ONCE|LOOK|SPARE) = .*", r"\1 = _\1", script.read_text(), flags=re.MULTILINE)
    script.write_text(f"_AT_ONCE, _LOOK, _SPARE = 1, 0.2, {spare}\n{words}")
    for tier in TIERS:
        (project / f"tests/{tier}/test_{tier}.py").write_text(WAITS)
    with start(project) as running:
        until((project / f"build/log/test-{'packets' if begun > 1 else 'e2e'}.log").exists)
        time.sleep(1)
        os.killpg(running.pid, signal.SIGINT)
        told, _ = running.communicate()
    assert told.count(": into build/log/") == begun


def test_no_tier_is_left_out() -> None:
    assert {*TIERS} == {file.parent.name for file in ROOT.glob("tests/*/conftest.py")} - APART | {"unit"}


def test_every_file_is_in_one_run() -> None:
    paths = [Path(path) for name in RUNS for path in files(name)]
    found = [file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
    wanted = [file for file in ROOT.glob("tests/*/**/test_*.py") if file.relative_to(ROOT).parts[1] not in APART]
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("tier", ["labs", "e2e"])
def test_one_that_fails_fails_all(project: Path, tier: str) -> None:
    (project / "tests" / tier / f"test_{tier}.py").write_text("def test_it():\n    assert not 'wrong'\n")
    with start(project) as running:
        told, _ = running.communicate()
    assert running.returncode == 1
    assert f"FAILED tests/{tier}/test_{tier}.py::test_it" in told
    assert ("3 passed" in told) == (tier == "e2e")


def test_with_arguments_it_is_one_run_of_pytest(project: Path) -> None:
    with start(project, "-q", "-k", "e2e or labs") as running:
        told, _ = running.communicate()
    assert running.returncode == 0
    assert f"2 passed, {len(TIERS) + 1 - 2} deselected" in told


def test_what_both_made_is_gone_after_ctrl_c(project: Path) -> None:
    files = [project / "tests" / tier / f"test_{tier}.py" for tier in ("cluster", "e2e")]
    for file in files:
        file.write_text(WAITS)
    with start(project) as running:
        until(lambda: all(file.with_suffix(".made").exists() for file in files))
        os.killpg(running.pid, signal.SIGINT)
        told, _ = running.communicate()
    assert running.returncode != 0
    assert "Waiting for all to clear away what they made" in told
    assert [file for file in files if file.with_suffix(".made").exists()] == []
    for tier in ("cluster", "e2e"):  # and what each said until then
        assert re.search(rf"test-{tier}\.log:\n.*\n(.*\n)*?!!+ KeyboardInterrupt !!+\n", told)
