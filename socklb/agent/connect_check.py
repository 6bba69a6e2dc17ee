"""A test connection of the agent, every few seconds: it shows that the hooks translate, not only that they are
attached.

    check = ConnectCheck(datapath)
    await check.look()
    check.facts                     # for the report

The connection goes to a frontend of the agent's own, at a loopback port that it holds (`datapath.asking`), which is in
the tables for that moment only. An agent outside the node's cgroup connects from a process in a cgroup that it makes
below it. If it cannot make one, and its own socket was never translated, the check has no result.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path

from socklb.datapath import asking
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Backend, Frontend, Serving, pack_address
from socklb.report import ConnectFacts

EVERY = 10.0  # seconds
AGAIN = 1.0  # seconds after a failure or a try without a result, to see soon that repaired hooks work
LIMIT = 5.0  # seconds for the process
CGROUP = "socklb-connect-check"

Ends = tuple[socket.socket, socket.socket]  # listener and decoy


class ConnectCheck:
    """See the module."""

    def __init__(self, datapath: NodeDatapath) -> None:
        """Start without a result."""
        self._datapath = datapath
        self._inside = False  # whether the agent's own socket was ever translated
        self.facts = ConnectFacts()
        self._tried: float | None = None  # monotonic

    @property
    def due(self) -> bool:
        """Return whether it is time for the next check."""
        pause = EVERY if self.facts.translated else AGAIN
        return self._tried is None or time.monotonic() - self._tried >= pause

    async def look(self) -> None:
        """Check both families, if the node has both."""
        with ExitStack() as opened:
            ends = [found for family in asking.LOOPBACK if (found := _ends(family, opened))]
            served = {_frontend(decoy): Serving((_backend(listener),)) for listener, decoy in ends}
            with self._datapath.tables.lent(served) as fits:
                if not ends or not fits:
                    self._note(None, "the tables are full" if ends else "the node has no loopback address")
                    return
                self._note(*await self._ask(ends))

    async def _ask(self, ends: list[Ends]) -> tuple[bool | None, str]:
        try:
            error = _first(asking.ask(*pair) for pair in ends)
        except TimeoutError as lost:
            return None, str(lost)
        self._inside = self._inside or not error
        if not error or self._inside:
            return not error, error
        try:
            error = await asyncio.to_thread(_ask_from_below, self._datapath.cgroup, ends)
        except OSError as refused:
            return None, f"the agent is not in {self._datapath.cgroup}, and cannot ask from there: {refused}"
        return not error, error

    def _note(self, translated: bool | None, error: str) -> None:
        before, now = self.facts, time.time()
        since = before.since if before.translated == translated and before.since else now
        self.facts, self._tried = ConnectFacts(translated, now, since, error), time.monotonic()


def _ends(family: socket.AddressFamily, opened: ExitStack) -> Ends | None:
    try:
        return opened.enter_context(asking.loopback(family)), opened.enter_context(asking.loopback(family))
    except OSError:
        return None


def _frontend(decoy: socket.socket) -> Frontend:
    host, port = decoy.getsockname()[:2]
    return Frontend(pack_address(host), port, socket.IPPROTO_UDP)


def _backend(listener: socket.socket) -> Backend:
    host, port = listener.getsockname()[:2]
    return Backend(pack_address(host), port)


@contextmanager
def _own_cgroup(node: Path) -> Generator[Path]:
    cgroup = node / CGROUP
    cgroup.mkdir(exist_ok=True)
    try:
        yield cgroup
    finally:
        cgroup.rmdir()


def _ask_from_below(node: Path, ends: list[Ends]) -> str:
    """Connect from a new cgroup. All of it runs in one thread, so that the cgroup is removed even if nobody waits for
    it any more.

    Raises:
        OSError: the cgroup cannot be made, or there was no answer.
    """
    with _own_cgroup(node) as cgroup:
        return _first(_asked_from(cgroup, pair) for pair in ends)


def _asked_from(cgroup: Path, ends: Ends) -> str:
    """Connect from a process in a cgroup.

    Raises:
        OSError: there was no answer.
    """
    numbers = [end.fileno() for end in ends]
    argv = [sys.executable, "-I", "-S", asking.__file__, str(cgroup), *map(str, numbers)]
    try:
        done = subprocess.run(argv, pass_fds=numbers, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no answer in {LIMIT} s") from error
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}")
    return done.stdout


def _first(errors: Iterable[str]) -> str:
    return next(filter(None, errors), "")
