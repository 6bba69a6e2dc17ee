"""socklb/api/known.py: what is told of what the API server said."""

from __future__ import annotations

from socklb.api.known import Known
from socklb.api.marks import BALANCE, NONE
from socklb.api.objects import Object, Service
from socklb.api.reading import Read
from socklb.api.source import Change
from tests.unit.agent.shapes import node, read, service


def found(raw: object) -> Read:
    one: Object = read(raw, object)  # type: ignore[arg-type]
    return Read((one.kind, one.key), one)


def told(changes: tuple[Change, ...]) -> dict[str, bool]:
    """Whether an object is there, by its key."""
    return {change.key: change.object is not None for change in changes}


def known(*raws: object) -> Known:
    one = Known(["Service", "Node"], lambda _: None)
    for raw in raws:
        one.note(found(raw))
    return one


def test_what_is_sent_again_is_told_once() -> None:
    one = known(service("a"), service("a"))
    assert told(one.take()) == {"default/a": True}
    one.note(found(service("a")))
    assert one.take() == ()


def test_labels_and_annotations_that_nobody_reads_are_not_kept_and_no_change() -> None:
    """`kubectl apply` writes a whole object into one, and controllers their clocks."""
    one = known(service("a"))
    one.take()
    noted = {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 1000, "example.com/renewed": "12:00"}
    raw = service("a", metadata={"labels": {"app": "a"}, "annotations": noted})
    again = found(raw)
    assert isinstance(again.object, Service)
    assert (again.object.metadata.labels, again.object.metadata.annotations) == (NONE, NONE)
    one.note(again)
    assert one.take() == ()
    one.note(found(service("a", metadata={"annotations": {**noted, BALANCE: "least-loaded"}})))
    assert told(one.take()) == {"default/a": True}


def test_what_came_and_went_between_two_batches_is_not_told() -> None:
    one = known(service("a"))
    one.forget(("Service", "default/a"))
    assert one.take() == ()


def test_a_list_of_some_says_nothing_of_the_others() -> None:
    one = known(node("w1"), node("w2"), node("w3"))
    one.take()
    one.replace("Node", [found(node("w3"))], lambda key: key != "w1")
    assert told(one.take()) == {"w2": False}
    one.replace("Node", [found(node("w2"))], lambda key: key == "w1")  # a server that sends more than asked for
    assert told(one.take()) == {"w1": False}


def test_after_a_batch_that_got_lost_everything_is_told_and_what_went_with_it() -> None:
    one = known(service("a"), service("b"))
    one.take()
    one.forget(("Service", "default/a"))
    one.tell_again(one.take())
    assert told(one.take()) == {"default/a": False, "default/b": True}
