"""The forms for issues and pull requests: as GitHub reads them, and true to what there is."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from socklb import cli

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github/ISSUE_TEMPLATE"
KINDS = ("bug", "feature", "question")
OURS = "../blob/main/"  # seen from the page of a new issue


def form(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text())


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each `socklb` command in backquotes."""
    quoted = (shlex.split(found) for found in re.findall(r"`([^`]*)`", text))
    return [words[words.index("socklb") + 1 :] for words in quoted if "socklb" in words]


def test_there_is_a_form_for_each_kind_and_no_way_around_them() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {*KINDS, "config"}
    assert form("config") == {"blank_issues_enabled": False}


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_has_what_github_asks_for(kind: str) -> None:
    described = form(kind)
    assert set(described) == {"name", "description", "labels", "body"}
    asked = [field for field in described["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in asked} <= {"input", "textarea"}
    assert all(field["attributes"]["label"] for field in asked)
    assert len({field["id"] for field in asked}) == len(asked)
    assert any(field.get("validations", {}).get("required") for field in asked)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_form_links_to_exists(kind: str) -> None:
    for target in re.findall(r"\]\((.*?)\)", (FOLDER / f"{kind}.yml").read_text()):
        assert target.startswith(OURS)
        assert (ROOT / target.removeprefix(OURS).partition("#")[0]).is_file()


def test_the_form_for_bugs_asks_for_the_archive_by_commands_that_are_understood() -> None:
    named = commands((FOLDER / "bug.yml").read_text())
    assert ["bugreport"] in named
    for words in named:
        if words != ["--version"]:
            cli.parser().parse_args([word.replace("ADDRESS:PORT", "192.0.2.1:80") for word in words])


def test_a_pull_request_is_asked_for_lint_and_tests() -> None:
    text = (ROOT / ".github/pull_request_template.md").read_text()
    assert {"make lint", "make test"} <= set(re.findall(r"`(make \w+)`", text))
