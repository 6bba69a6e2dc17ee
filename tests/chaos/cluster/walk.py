"""The walk of tests/chaos/walk.py over the nodes of a cluster: what is well, and what is wrong, is so on every node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from labs.engine.target import Target
from tests.chaos.cluster.churn import ClusterChurn, Oracles
from tests.chaos.cluster.crowd import ClusterCrowd
from tests.chaos.cluster.rig import ClusterRig, on
from tests.chaos.cluster.services import whose
from tests.chaos.history import Event
from tests.chaos.services import Asked
from tests.chaos.walk import Walk
from tests.chaos.wellness import LINGERS

RATES = (0.0, 0.5, 2.0, 5.0)  # changes a second: each is a process on each node, or one of kubectl


class ClusterWellness:
    """Whether every node is well, and every client has an answer."""

    def __init__(self, rig: ClusterRig, churn: ClusterChurn, crowd: ClusterCrowd, oracles: Oracles) -> None:
        self._rig, self._churn, self._crowd, self._oracles = rig, churn, crowd, oracles

    def wanted(self) -> dict[Asked, int]:
        return {asked: versions.last.generation for asked, versions in self._churn.history.versions.items()}

    def wrong(self, wanted: dict[Asked, int], since: float) -> str:
        """Return what is not well yet, or nothing."""
        for node in self._rig.nodes:
            status = self._rig.status(node)
            if wrong := _of_status(status) or self._not_applied(node, status, wanted):
                return f"{node}: {wrong}"
        return self._of_clients(since)

    def _not_applied(self, node: str, status: dict[str, Any] | None, wanted: dict[Asked, int]) -> str:
        self._churn.hear(node, status)
        versions = self._churn.histories[node].versions
        late = [
            asked.slice
            for asked, generation in wanted.items()
            if generation < 2**62 and versions[asked].applied_generation < generation
        ]
        return f"not applied: {late}" if late else ""

    def _of_clients(self, since: float) -> str:
        for client in self._crowd.clients:
            last = self._crowd.last.get(client)
            if last is None or last.began < since or not self._is_right(last):
                return f"{client}: {last and last.got}"
        return ""

    def _is_right(self, last: Event) -> bool:
        if last.got == "alive" or whose(last.got) == last.asked:
            return True
        return not all(version.backends for version in self._oracles.possible(last))


def _of_status(status: dict[str, Any] | None) -> str:
    if not status:
        return "no agent answers"
    if not status["synced"]:
        return "not in sync"
    if problems := [one["message"] for one in status["problems"] if not LINGERS.search(one["message"])]:
        return f"problems: {problems}"
    if lacking := [hook["name"] for hook in status["hooks"] if not (hook["attached"] and hook["effective"])]:
        return f"hooks not effective: {lacking}"
    return "" if status["packet_path"]["whole"] else f"packet path: {status['packet_path']}"


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
