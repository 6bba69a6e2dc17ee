"""A cluster that changes, planned for the node w1."""

from typing import Any

from socklb.api.objects import EndpointSlice, Node, Service
from socklb.api.source import Change
from socklb.plan import Plan
from socklb.serving import Difference
from socklb.state import Affected, State
from tests.unit.agent.shapes import present, readable

NO_CHANGE = Difference({})


class Cluster:
    """A state and its plan. Every change is compared with a plan that is made anew."""

    def __init__(self, *objects: Service | EndpointSlice | Node) -> None:
        self.state, self.plan = State(), Plan("w1")
        self.change(present(*objects))

    def change(self, *changes: tuple[Change, ...]) -> Difference:
        before = self.plan.full()
        difference = self.plan.update(self.state, self.state.apply(c for part in changes for c in part))
        self._check(before.frontends, difference)
        return difference

    @property
    def frontends(self) -> dict[str, list[str]]:
        """What should be served now."""
        return readable(self.plan.full().frontends)

    def _check(self, before: dict[Any, Any], difference: Difference) -> None:
        """A difference, applied to what was, gives what should be; and it says nothing in vain."""
        after = {f: b for f, b in (before | dict(difference.put)).items() if f not in difference.delete}
        full = self.plan.full()
        assert after == full.frontends
        assert all(before.get(f) != b for f, b in difference.put.items())
        assert difference.delete <= before.keys()
        if not self.plan.problems:  # who wins a contest depends on who came first
            assert full == self._anew()

    def _anew(self) -> Any:
        plan = Plan("w1")
        plan.update(self.state, Affected(frozenset(self.state.services), frozenset(self.state.nodes)))
        return plan.full()
