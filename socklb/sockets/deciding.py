"""The rows of `socklb monitor`, and the filter for them.

    rows = Rows(config, maps, cgroup, Wanted(service="shop/web"))
    row = rows.of(decision)         # None: not wanted

Services and pods that are created meanwhile are looked up when they first occur.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from socklb.config import Config
from socklb.datapath.decisions import PASSED, Decision
from socklb.model import PROTOCOLS, Backend, endpoint_text, is_loopback
from socklb.sockets.descriptors import command
from socklb.sockets.names import Names
from socklb.sockets.pods import Pod, Pods
from socklb.sockets.shown import is_named, is_of

FIRST_PID_NAMESPACE = 0xEFFFFFFC  # its inode in every kernel
AGAIN = 10.0  # seconds until something that was not found is looked up again
MOST_MISSED = 1000
SHARE = 20  # pause between lookups of something common, in multiples of the time the last one took

Row = dict[str, Any]
T = TypeVar("T")


class Wanted(NamedTuple):
    """Which rows are wanted; empty: any."""

    service: str = ""
    pod: str = ""
    address: str = ""
    verdicts: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    since: float = 0.0  # seconds since 1970

    def passes(self, decision: Decision) -> bool:
        """Return whether a decision may be wanted, judging by its own fields."""
        return (
            (not self.verdicts or decision.verdict in self.verdicts)
            and (not self.hooks or decision.hook in self.hooks or decision.hook[:-1] in self.hooks)
            and (not self.address or any(_is_at(self.address, end) for end in (decision.asked, decision.given) if end))
            and (not self.since or decision.time / 1e9 >= self.since)
        )


class Learnt(Generic[T]):
    """Data that is read again when something occurs that it does not contain."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._missed: dict[object, float] = {}  # what it still did not contain after a reading, and when that was
        self._learn()

    def _learn(self) -> None:
        began = time.monotonic()
        self.now = self._look()
        self._rests = time.monotonic() + SHARE * (time.monotonic() - began)

    def may_learn(self, missed: object, *, common: bool = False) -> bool:
        """Read again, unless that was done for the same thing recently; return whether it was done.

        common: it occurs often, so it is looked up only as often as is cheap.
        """
        now = time.monotonic()
        if now - self._missed.get(missed, -AGAIN) < AGAIN or (common and now < self._rests):
            return False
        if len(self._missed) >= MOST_MISSED:
            self._missed.clear()
        self._missed[missed] = now
        self._learn()
        return True


class Rows:
    """See the module."""

    def __init__(self, config: Config, maps: Path, cgroup: Path, wanted: Wanted) -> None:
        """Read the names of Services and pods."""
        self._cgroup, self._wanted = cgroup, wanted
        self._names = Learnt(lambda: Names(config, maps))
        self._pods = Learnt(lambda: Pods(cgroup))
        self._nested = Path("/proc/self/ns/pid").stat().st_ino != FIRST_PID_NAMESPACE

    def of(self, decision: Decision) -> Row | None:
        """Return the row of a decision, or None if it is not wanted."""
        if not self._wanted.passes(decision):
            return None
        service, pod = self._service(decision), self._pod(decision.cgroup)
        if not is_named(self._wanted.service, service or "") or not is_of(self._wanted.pod, pod):
            return None
        return {
            "time": datetime.fromtimestamp(decision.time / 1e9, UTC).isoformat(timespec="microseconds"),
            "hook": decision.hook,
            "protocol": PROTOCOLS.get(decision.protocol, str(decision.protocol)),
            "asked": endpoint_text(Backend(*decision.asked)),
            "service": service,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "backend": endpoint_text(Backend(*decision.given)) if decision.given else None,
            "pod": pod.name,
            "pod_uid": pod.uid,
            "container": pod.container,
            "cgroup": pod.cgroup,
            "cgroup_id": decision.cgroup,
            "pid": self._pid(decision, pod),
            "command": decision.command,
            "cookie": decision.cookie,
        }

    def _service(self, decision: Decision) -> str | None:
        found = self._named(decision)
        if found or decision.verdict == PASSED:
            return found
        address, _ = decision.asked
        own_check = is_loopback(address)  # the agent's check has no name, and recurs
        learnt = self._names.may_learn((decision.asked, decision.protocol), common=own_check)
        return self._named(decision) if learnt else None

    def _named(self, decision: Decision) -> str | None:
        asked = Backend(*decision.asked)
        return self._names.now.target(asked, decision.protocol).service or self._names.now.of_address(asked.address)

    def _pod(self, cgroup: int) -> Pod:
        found = self._pods.now.by_cgroup(cgroup)
        if found is None and self._pods.may_learn(cgroup):
            found = self._pods.now.by_cgroup(cgroup)
        return found or Pod()

    def _pid(self, decision: Decision, pod: Pod) -> int | None:
        """Return the process id in our pid namespace: on a node in a container it differs from the kernel's."""
        if not self._nested:
            return decision.pid
        return _only_one(self._cgroup / pod.cgroup.lstrip("/"), decision.command, decision.pid) if pod.cgroup else None


@lru_cache(maxsize=1024)
def _only_one(cgroup: Path, name: str, _: int) -> int | None:
    """Return the only process of this name in a cgroup; None if there are several, or if it ended."""
    try:
        pids = [int(pid) for pid in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:
        return None
    named = [pid for pid in pids if command(pid) == name]
    return named[0] if len(named) == 1 else None


def _is_at(wanted: str, end: tuple[bytes, int]) -> bool:
    address, _, _ = (text := endpoint_text(Backend(*end))).rpartition(":")
    return wanted in (text, address, address.strip("[]"))
