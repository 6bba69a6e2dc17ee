"""docs/performance.md and its pictures: made from the run that is kept beside it, and from nothing else."""

from __future__ import annotations

import re

import msgspec
import pytest

from bench import page
from bench.peers import part as peers
from bench.runs import Run, read, text

KEPT = read(page.KEPT)
MADE = page.made(KEPT)


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_it_is_what_the_kept_run_gives(path: page.Path) -> None:
    assert path.read_text() == MADE[path], (
        f"{path.name} is not what docs/performance.json gives: .venv/bin/python -m bench page docs/performance.json"
    )


def test_no_picture_of_another_run_is_left() -> None:
    pictures = set(page.PICTURES.glob("performance-*"))
    assert pictures == {path for path in MADE if path.parent == page.PICTURES}
    assert {path.name for path in pictures} == set(re.findall(r"\(pictures/(\S+)\)", MADE[page.PAGE]))


def test_the_kept_run_is_written_as_it_was_read() -> None:
    assert msgspec.json.decode(text(KEPT), type=Run) == KEPT


def test_another_figure_gives_another_page_and_another_picture() -> None:
    at = next(i for i, one in enumerate(KEPT.figures) if one.what == peers.right(peers.IDLE, peers.MEDIAN))
    figures = [*KEPT.figures]
    figures[at] = msgspec.structs.replace(figures[at], value=figures[at].value * 1.5)
    made = page.made(Run(KEPT.machine, figures))
    assert {path.name for path in MADE if made[path] != MADE[path]} == {
        "performance.md",
        "performance.json",
        "performance-changes.svg",
    }


def test_a_run_of_some_parts_gives_a_page_of_these() -> None:
    figures = [figure for figure in KEPT.figures if figure.part == "peers"]
    made = page.made(Run(KEPT.machine, figures))
    assert {path.name for path in made if path.parent == page.PICTURES} == {
        "performance-programming.svg",
        "performance-changes.svg",
    }
    headings = re.findall(r"^## (.+)$", made[page.PAGE], re.MULTILINE)
    assert headings == ["Beside the real kube-proxy", "Compare with a run of your own"]


def test_a_picture_says_nothing_of_the_day_on_which_it_was_drawn() -> None:
    for path, content in MADE.items():
        if path.suffix == ".svg":
            assert "<dc:date>" not in content
            assert not re.search(r"[ \t]+$", content, re.MULTILINE)
