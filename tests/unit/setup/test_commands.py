"""The Makefile's list of targets, and .ci/run, which decides whether a change may land."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_bare_make_prints_every_target_with_a_line_on_it() -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(listed) == set(phony.split()) - {"ready"}
    assert {"doctor", "setup", "build", "lab", "test", "lint", "cluster", "teardown", "clean"} <= set(listed)


def test_what_python_compiles_is_kept_whatever_the_caller_says() -> None:
    told = subprocess.run(
        ["make", "-s", "-C", str(ROOT), "--eval=told:; @env", "told"],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "PYTHONUNBUFFERED=1" in told
    assert "PYTHONDONTWRITEBYTECODE" not in told


@pytest.mark.parametrize(("lint", "test", "code"), [("true", "true", 0), ("false", "true", 1), ("true", "false", 1)])
def test_ci_runs_all_stages_and_fails_if_one_does(tmp_path: Path, lint: str, test: str, code: int) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(
        f"lint:\n\t{lint}\nprograms:\n\ttrue\ntest:\n\techo 3 passed, CI=$(CI)\n\t{test}\nkernels:\n\ttrue\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "MAKEFLAGS")}
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci/run")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "\n3 passed, CI=true\n" in done.stdout
    took = r": exit code \d after \d+ s\n"
    assert re.search(f"^make lint{took}make programs{took}make test{took}make kernels{took}", done.stdout, re.MULTILINE)


def test_a_stage_of_ci_that_takes_too_long_clears_away_what_it_made(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = (ROOT / ".ci/run").read_text()
    (tmp_path / ".ci/run").write_text(re.sub(r"^stage test .*", "stage test 1s", script, flags=re.MULTILINE))
    work = (
        "import pathlib, time; made = pathlib.Path('made'); made.touch()\ntry: time.sleep(60)\nfinally: made.unlink()"
    )
    (tmp_path / "work.py").write_text(work)
    (tmp_path / "Makefile").write_text(
        f"lint:\n\ttrue\nprograms:\n\ttrue\ntest:\n\t{sys.executable} work.py\nkernels:\n\ttest ! -e made\n"
    )
    done = subprocess.run(["bash", str(tmp_path / ".ci/run")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make test: exit code 124 after" in done.stdout
    assert "make kernels: exit code 0 after" in done.stdout, "what was made is gone before the next stage begins"
