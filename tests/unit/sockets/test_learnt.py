"""What `socklb monitor` does not know it looks up: at once, and not again and again for the same thing."""

from __future__ import annotations

import time

import pytest

from socklb.sockets import deciding
from socklb.sockets.deciding import Learnt


class Looks:
    def __init__(self, seconds: float = 0.0) -> None:
        self.count, self._seconds = 0, seconds

    def __call__(self) -> int:
        time.sleep(self._seconds)
        self.count += 1
        return self.count


def test_each_thing_is_looked_for_at_once_and_once() -> None:
    learnt = Learnt(looks := Looks())
    assert learnt.may_learn("new")
    assert not learnt.may_learn("new")
    assert learnt.may_learn("newer")
    assert (learnt.now, looks.count) == (3, 3)


def test_after_a_while_it_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "AGAIN", 0.05)
    learnt = Learnt(Looks())
    assert learnt.may_learn("new")
    time.sleep(0.06)
    assert learnt.may_learn("new")


def test_what_is_common_waits_as_long_as_a_look_is_dear() -> None:
    slow, quick = Learnt(Looks(0.05)), Learnt(Looks())
    assert not slow.may_learn("often", common=True)
    time.sleep(0.02)  # 20 times what a look takes that takes no time
    assert quick.may_learn("often", common=True)
    assert slow.may_learn("new")


def test_not_everything_that_was_missed_is_remembered() -> None:
    learnt = Learnt(looks := Looks())
    for number in range(deciding.MOST_MISSED + 1):
        assert learnt.may_learn(number)
    assert learnt.may_learn(0)
    assert not learnt.may_learn(deciding.MOST_MISSED)
    assert looks.count == deciding.MOST_MISSED + 3
