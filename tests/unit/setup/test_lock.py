"""uv.lock says what pyproject.toml asks for; `make lint` checks it."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
READ = ("pyproject.toml", "uv.lock", "setup/kit/pyproject.toml", "socklb/__init__.py", "README.md")


def lint_checks() -> list[str]:
    """Return the command of `make lint` that looks at the lock."""
    (line,) = [line for line in (ROOT / "setup/lint.sh").read_text().splitlines() if '"uv.lock"' in line]
    return line.split(" #")[0].split()[2:]


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command, *words = lint_checks()
    argv = [ROOT / command, *words, "--directory", folder]
    return subprocess.run(list(map(str, argv)), cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_lock_is_what_the_project_asks_for() -> None:
    done = check(ROOT)
    assert done.returncode == 0, f"{done.stderr}\nNext: setup/python.sh uv lock"


def test_a_lock_that_is_older_than_the_project_is_found_and_left_alone(tmp_path: Path) -> None:
    for name in READ:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text().replace('"msgspec>=0.19",', ""))
    assert check(tmp_path).returncode != 0
    assert (tmp_path / "uv.lock").read_bytes() == (ROOT / "uv.lock").read_bytes()
