"""What a load came to is read from the lines of its log."""

from labs.engine.claims import Verdict
from labs.engine.load import load_of
from labs.engine.scenario import MANY

GOOD = [f"10:00:00.{at:06} web-{at % 3 + 1}" for at in range(90)]
BAD = "10:00:01.000000 FAILED: [Errno 111] Connection refused"


def test_connections_are_counted_by_who_answered() -> None:
    load = load_of({"client": [*GOOD, BAD], "outside": GOOD[:1]})
    assert load.counts == {"client": {"web-1": 30, "web-2": 30, "web-3": 30}, "outside": {"web-1": 1}}
    assert load.failed == [f"client: {BAD}"]


def test_the_last_lines_have_what_failed_too() -> None:
    load = load_of({"client": [*GOOD, BAD]})
    assert len(load.last["client"]) == MANY
    assert load.answering[-2:] == ["web-3", "FAILED: [Errno 111] Connection refused"]


def test_that_nothing_failed_is_believed_beside_a_load_that_saw_failures() -> None:
    good, bad = load_of({"client": GOOD}), load_of({"client": [*GOOD, BAD]})
    verdicts = [good.none_failed(control=bad), good.none_failed(control=good), bad.none_failed(control=bad)]
    assert [claim.verdict for claim in verdicts] == [Verdict.TRUE, Verdict.DOUBT, Verdict.FALSE]
