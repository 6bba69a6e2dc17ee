"""The version: stated once, in socklb/__init__.py, and carried to wherever else it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from setup import version
from socklb import __version__

ROOT = Path(__file__).parents[3]
TEXTS = {".md", ".yaml", ".yml", ".toml", ".json", ""}


@pytest.mark.parametrize("name", version.FILES)
def test_a_file_that_names_it_names_this_one(name: str) -> None:
    text = (ROOT / name).read_text()
    assert version.NAMED.search(text), f"{name} names no version any more: take it out of setup/version.py"
    assert version.carried(text) == text, f"{name} names another version: run `make format`"


def test_no_other_file_names_it() -> None:
    files = (file for folder in ("deploys", "docs", "images", ".github") for file in (ROOT / folder).rglob("*"))
    texts = (file for file in files if file.is_file() and file.suffix in TEXTS)
    named = re.compile(r"socklb[ /][\w/]*:?\d+\.\d+\.\d+\b")
    found = {str(file.relative_to(ROOT)) for file in texts if named.search(file.read_text())}
    assert found <= set(version.FILES)


def test_another_version_is_carried_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "__version__", "7.8.9")
    for name in version.FILES:
        text = version.carried((ROOT / name).read_text())
        assert "7.8.9" in text
        assert not version.NAMED.search(text.replace("7.8.9", ""))


def test_every_program_that_prints_it_prints_this_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "socklb", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"socklb {__version__}\n"
    assert f"socklb {__version__}" in subprocess.run(
        [sys.executable, "-m", "socklb.cli.manual"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\", "")


def test_the_changelog_begins_with_what_is_unreleased_and_then_with_this_version_and_its_date() -> None:
    first, second = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[:2]
    assert first == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", second)
