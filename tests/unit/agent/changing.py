"""A cluster that changes, planned for the node w1."""

from typing import Any

from socklb.api.objects import EndpointSlice, Node, Service
from socklb.api.source import Change
from socklb.desired.plan import DesiredState, Plan
from socklb.desired.store import Affected, ObjectStore
from socklb.model import Difference
from tests.unit.agent.shapes import details, present, readable

EXTERNAL_IPS = ("198.51.100.0/24",)
NO_CHANGE = Difference({})


class Cluster:
    """A state and its plan. Every change is compared with a plan that is made anew."""

    def __init__(self, *objects: Service | EndpointSlice | Node) -> None:
        self.state, self.plan = ObjectStore(), Plan("w1", external_ips=EXTERNAL_IPS)
        self.change(present(*objects))

    def change(self, *changes: tuple[Change, ...]) -> Difference:
        before = self.plan.full()
        difference = self.plan.update(self.state, self.state.apply(c for part in changes for c in part))
        self._check(before, difference)
        return difference

    @property
    def frontends(self) -> dict[str, list[str]]:
        """What should be served now."""
        return readable(self.plan.full().frontends)

    @property
    def details(self) -> dict[str, dict[str, Any]]:
        """How it should be served."""
        return details(self.plan.full().frontends)

    def _check(self, before: DesiredState, difference: Difference) -> None:
        """A difference, applied to what was, gives what should be; and it says nothing in vain."""
        put, was = dict(difference.put), before.frontends
        full = self.plan.full()
        assert {f: b for f, b in (was | put).items() if f not in difference.delete} == full.frontends
        assert all(was.get(f) != b for f, b in put.items())
        assert difference.delete <= was.keys()
        for old, added, removed, new in zip(
            before.addresses, difference.add, difference.remove, full.addresses, strict=True
        ):
            assert (old | added) - removed == new
            assert not old & added
            assert removed <= old
        if not self.contested:  # who wins a contest depends on who came first
            assert full == self._anew()

    @property
    def contested(self) -> bool:
        """Whether two Services claim one frontend."""
        return any("belongs to" in problem.message for problem in self.plan.problems)

    def _anew(self) -> Any:
        plan = Plan("w1", external_ips=EXTERNAL_IPS)
        plan.update(self.state, Affected(frozenset(self.state.services), frozenset(self.state.nodes)))
        return plan.full()
