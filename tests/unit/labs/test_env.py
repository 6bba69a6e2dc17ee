"""Waiting for what comes later."""

from pathlib import Path

import pytest

from labs.engine.errors import CannotRunError
from tests.unit.labs.bench import Bench


def test_waiting_says_for_what_and_gives_what_was_found(tmp_path: Path) -> None:
    bench, looks = Bench(tmp_path), iter(["", "", "web-2"])
    assert bench.env().until("web-2 is served again", lambda: next(looks)) == "web-2"
    assert bench.printed.getvalue() == "Waiting until web-2 is served again …\n"


def test_what_is_there_already_is_not_waited_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.env().until("it is there", lambda: 7, seconds=0) == 7
    assert bench.printed.getvalue() == ""


def test_what_does_not_come_stops_the_lab_with_the_last_look(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match=r"within 0 s that web-2 is back; the last look: \[\]"):
        Bench(tmp_path).env().until("web-2 is back", list, seconds=0)
