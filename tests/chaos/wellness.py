"""Whether all is well: what status says, what the clients see, and what was sent is applied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from tests.chaos.churn import Churn
from tests.chaos.crowd import Crowd
from tests.chaos.history import Event, Versions
from tests.chaos.rig import Rig
from tests.chaos.services import Asked

FULL, NEARLY_FULL = 0.75, "nearly full"  # of a table; there is no alarm yet, and one with the next flows
# Told for some minutes after it is over.
LINGERS = re.compile(r"new flows found no room|put back|route")


class Judge(Protocol):
    def is_right(self, event: Event) -> bool: ...


class Wellness:
    """See the module."""

    def __init__(self, rig: Rig, churn: Churn, crowd: Crowd, oracle: Judge) -> None:
        self._rig, self._churn, self._crowd, self._oracle = rig, churn, crowd, oracle

    def wanted(self) -> dict[Asked, int]:
        """What is to be applied for that: the versions of this moment."""
        return {asked: versions.last.generation for asked, versions in self._churn.history.versions.items()}

    def wrong(self, wanted: dict[Asked, int], since: float) -> str:
        """Return what is not well yet, or nothing."""
        status = self._rig.status()
        if not status:
            return f"the agent {'does not answer' if self._rig.agent.alive else 'has ended'}"
        return of_status(status) or not_applied(wanted, self._churn.history.versions) or self.of_clients(since)

    def of_clients(self, since: float) -> str:
        """Each has an answer to a question of this time."""
        for client in self._crowd.files:
            last = self._crowd.last.get(client)
            if last is None or last.began < since or not self._oracle.is_right(last):
                return f"{client}: {last and last.got}"
        return ""


def of_status(status: Mapping[str, Any]) -> str:
    """Return what an agent says is not well."""
    if not status["synced"]:
        return "not in sync"
    if problems := [one["message"] for one in status["problems"] if not LINGERS.search(one["message"])]:
        return f"problems: {problems}"
    if lacking := [hook["name"] for hook in status["hooks"] if not (hook["attached"] and hook["effective"])]:
        return f"hooks not effective: {lacking}"
    if full := [table["name"] for table in status["maps"] if table["used"] > FULL * table["capacity"]]:
        return f"{NEARLY_FULL}: {full}"
    if not status["packet_path"]["whole"]:
        return f"packet path: {status['packet_path']}"
    return "" if status["connect"]["translated"] else f"connect: {status['connect']}"


def not_applied(wanted: Mapping[Asked, int], versions: Mapping[Asked, Versions]) -> str:
    """A later version may be there already. One that is just being created has no number yet."""
    late = [
        asked.slice
        for asked, generation in wanted.items()
        if generation < 2**62 and versions[asked].applied_generation < generation
    ]
    return f"not applied: {late}" if late else ""
