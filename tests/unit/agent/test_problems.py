"""Problems over time: how often, since when, and a log line for each change."""

from __future__ import annotations

import logging

import pytest

from socklb.agent.problems import LINES, ProblemBook
from socklb.api.source import Problem

CONTEST = Problem("", 0, "spec.ports", "10.96.211.7:80/TCP belongs to Service ux/ux-lb", "Service/ux/zz-second")


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "socklb")


def test_a_problem_that_stands_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    book = ProblemBook()
    for _ in range(3):
        (found,) = book.note([CONTEST])
    assert (found.object, found.count) == ("Service/ux/zz-second", 1)
    assert found.first <= found.last
    assert book.note([]) == []
    assert [record.getMessage() for record in caplog.records] == [
        "problem: Service/ux/zz-second: spec.ports: 10.96.211.7:80/TCP belongs to Service ux/ux-lb",
        "no longer a problem: Service/ux/zz-second: spec.ports: 10.96.211.7:80/TCP belongs to Service ux/ux-lb",
    ]


def test_one_that_comes_up_again_is_counted_from_when_it_was_first_there() -> None:
    book = ProblemBook()
    (first,) = book.note([CONTEST])
    book.note([])
    (again,) = book.note([CONTEST])
    assert (again.count, again.first) == (2, first.first)


def test_a_count_of_its_source_and_its_times_are_taken_over() -> None:
    (found,) = ProblemBook().note([], [CONTEST._replace(times=50, first=10.0, last=20.0)])
    assert (found.count, found.first, found.last) == (50, 10.0, 20.0)


def test_figures_that_move_do_not_make_an_alarm_another_one(caplog: pytest.LogCaptureFixture) -> None:
    book = ProblemBook()
    for used in range(900, 910):
        (found,) = book.note([Problem("", 0, "", f"holds {used} of 1000", name="table_nearly_full frontends")])
    assert (found.message, found.count) == ("holds 909 of 1000", 1)
    assert len(caplog.records) == 1


def test_what_its_source_logs_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    book = ProblemBook()
    assert len(book.note([], [CONTEST])) == 1
    book.note([])
    assert caplog.records == []


def test_thousands_at_once_are_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    many = [CONTEST._replace(object=f"Service/a/{n}") for n in range(5000)]
    assert len(ProblemBook().note(many)) == 5000
    assert len(caplog.records) == LINES + 1


def test_what_others_wrote_is_one_line_each_in_status_and_log(caplog: pytest.LogCaptureFixture) -> None:
    """The name of a file or of a bad object is text that anybody may have chosen."""
    bad = Problem("a\n.yaml", 1, "spec\x1b[2J", "missing\nproblem: none", f"Service/default/{'x' * 5000}\n")
    (found,) = ProblemBook().note([bad])
    for text in (found.file, found.field, found.message, found.object):
        assert text.isprintable()
        assert len(text) <= 1001
    (record,) = caplog.records
    assert record.getMessage().isprintable()
