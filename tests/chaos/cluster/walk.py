"""The walk of tests/chaos/walk.py over the nodes of a cluster: what is well, and what is wrong, is so on every node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labs.engine.target import Target
from tests.chaos.cluster.churn import ClusterChurn, Oracles
from tests.chaos.cluster.crowd import ClusterCrowd
from tests.chaos.cluster.rig import ClusterRig, on
from tests.chaos.services import Asked
from tests.chaos.walk import Walk
from tests.chaos.wellness import Wellness, not_applied, of_status

RATES = (0.0, 0.5, 2.0, 5.0)  # changes a second: each is a process on each node, or one of kubectl


class ClusterWellness(Wellness):
    """Whether every node is well, and every client has an answer."""

    _rig: ClusterRig  # type: ignore[assignment]
    _churn: ClusterChurn  # type: ignore[assignment]

    def wrong(self, wanted: dict[Asked, int], since: float) -> str:
        """Return what is not well yet, or nothing."""
        for node in self._rig.nodes:
            status = self._rig.status(node)
            if not status:
                return f"{node}: no agent answers"
            self._churn.hear(node, status)
            if wrong := of_status(status) or not_applied(wanted, self._churn.histories[node].versions):
                return f"{node}: {wrong}"
        return self.of_clients(since)


class ClusterWalk(Walk):
    """See the module."""

    rates = RATES

    def __init__(
        self, rig: ClusterRig, churn: ClusterChurn, crowd: ClusterCrowd, seed: int, tell: Callable[[str, str], object]
    ) -> None:
        super().__init__(rig, churn, crowd, seed, tell)  # type: ignore[arg-type]
        self.oracle = Oracles(churn)  # type: ignore[assignment]
        self.well = ClusterWellness(rig, churn, crowd, self.oracle)  # type: ignore[assignment, arg-type]

    def leaks_from_now(self) -> Callable[[], list[str]]:
        """Leaks are looked for on the node of tests/chaos/rig.py."""
        return list

    def step_ended(self, at: float) -> None:
        """As above."""


def walk_on(
    target: Target, home: Path, seed: int, tell: Callable[[str, str], object], how: Callable[[Walk], object]
) -> Walk:
    """Walk on a cluster that exists, and leave it as it was."""
    with on(target, home) as rig, ClusterChurn(rig, seed).at_work() as churn, ClusterCrowd(rig, seed) as crowd:
        walk = ClusterWalk(rig, churn, crowd, seed, tell)
        how(walk)
    return walk
