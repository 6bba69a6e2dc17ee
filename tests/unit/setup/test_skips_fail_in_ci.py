"""tests/conftest.py: where CI is set, a skip fails. Each case is a pytest run of its own, as CI's is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CASES = {
    "a test that skips itself": "def test_it(): pytest.skip('no root here')",
    "a test that is marked to skip": "@pytest.mark.skip(reason='no root here')\ndef test_it(): pass",
    "a fixture that skips": ("@pytest.fixture\ndef kernel(): pytest.skip('no root here')\ndef test_it(kernel): pass"),
    "a module that skips on import": "pytest.skip('no root here', allow_module_level=True)",
}
ALLOWED = {
    "a skip that is marked as fine": (
        "@pytest.mark.skip_in_ci_ok('no such kernel here')\ndef test_it(): pytest.skip('no 6.1')"
    ),
    "an expected failure": "@pytest.mark.xfail(strict=True)\ndef test_it(): assert False",
}


def run_pytest(folder: Path, source: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_case.py").write_text(f"import pytest\n{source}\n")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"),
         "--rootdir", str(folder), str(folder)],
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("source", CASES.values(), ids=CASES.keys())
def test_a_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    done = run_pytest(tmp_path, source, ci=True)
    assert done.returncode != 0
    assert "skip_in_ci_ok" in done.stdout
    assert "no root here" in done.stdout


@pytest.mark.parametrize("source", CASES.values(), ids=CASES.keys())
def test_a_skip_stays_a_skip_elsewhere(tmp_path: Path, source: str) -> None:
    done = run_pytest(tmp_path, source, ci=False)
    assert "1 skipped" in done.stdout


@pytest.mark.parametrize("source", ALLOWED.values(), ids=ALLOWED.keys())
def test_ci_lets_pass(tmp_path: Path, source: str) -> None:
    done = run_pytest(tmp_path, source, ci=True)
    assert done.returncode == 0, done.stdout
