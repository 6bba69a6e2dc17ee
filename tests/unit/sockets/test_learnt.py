"""What `socklb monitor` does not know it looks up: at once, and not again and again for the same thing."""

from __future__ import annotations

import pytest

from socklb.sockets import deciding
from socklb.sockets.deciding import Learnt


class Clock:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Looks:
    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.count, self._clock, self._seconds = 0, clock, seconds

    def __call__(self) -> int:
        self._clock.now += self._seconds
        self.count += 1
        return self.count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deciding, "time", clock)
    return clock


def test_each_thing_is_looked_for_at_once_and_once(clock: Clock) -> None:
    learnt = Learnt(looks := Looks(clock))
    assert learnt.may_learn("new")
    assert not learnt.may_learn("new")
    assert learnt.may_learn("newer")
    assert (learnt.now, looks.count) == (3, 3)


def test_after_a_while_it_is_looked_for_again(clock: Clock) -> None:
    learnt = Learnt(Looks(clock))
    assert learnt.may_learn("new")
    clock.now += deciding.AGAIN - 0.1
    assert not learnt.may_learn("new")
    clock.now += 0.1
    assert learnt.may_learn("new")


def test_what_is_common_waits_as_long_as_a_look_is_dear(clock: Clock) -> None:
    learnt = Learnt(Looks(clock, seconds=0.05))
    clock.now += deciding.SHARE * 0.05 - 0.01
    assert not learnt.may_learn("often", common=True)
    clock.now += 0.02
    assert learnt.may_learn("often", common=True)


def test_what_is_new_and_rare_does_not_wait(clock: Clock) -> None:
    learnt = Learnt(Looks(clock, seconds=0.05))
    assert learnt.may_learn("new")


def test_not_everything_that_was_missed_is_remembered(clock: Clock) -> None:
    learnt = Learnt(looks := Looks(clock))
    for number in range(deciding.MOST_MISSED + 1):
        assert learnt.may_learn(number)
    assert learnt.may_learn(0)
    assert not learnt.may_learn(deciding.MOST_MISSED)
    assert looks.count == deciding.MOST_MISSED + 3
