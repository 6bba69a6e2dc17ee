"""An agent of its own for a part of the bench, and how long a change takes to reach its kernel's tables."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench.figures import Figure, quantile
from rig.agents import AgentUnderTest
from rig.sandbox import Sandbox, mounted_bpffs
from socklb import control_socket
from socklb.datapath import layout
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.model import Frontend, pack_address

CHANGES = 300
PAUSE = 0.03  # seconds between changes, so that each is a batch of its own
LIMIT = 10.0  # seconds
START_LIMIT = 300.0  # seconds: the machine may be busy


@contextmanager
def agent_of(part: str) -> Generator[AgentUnderTest]:
    """Yield an agent that does not run yet; its folder and all that it did are removed with the block."""
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="socklb-bench-")))
        bpffs = opened.enter_context(mounted_bpffs(scratch / "bpf"))
        place = Sandbox(f"socklb-bench-{part}")
        opened.callback(place.remove)
        opened.callback(lambda: Pins(bpffs).remove())
        agent = AgentUnderTest(scratch, place.cgroup, bpffs)
        opened.callback(agent.stop)
        yield agent


def start(agent: AgentUnderTest) -> float:
    """Start it and return the seconds from exec to "in sync"."""
    began = time.monotonic()
    agent.launch()
    while not is_synced(agent):
        if time.monotonic() - began > START_LIMIT:
            raise TimeoutError(f"not in sync after {START_LIMIT} s:\n{agent.log[-2000:]}")
        time.sleep(0.01)
    return time.monotonic() - began


def is_synced(agent: AgentUnderTest) -> bool:
    """Ask in the cheapest way: a full status would keep it from its work."""
    try:
        return bool((control_socket.ask(agent.socket, "synced") or {}).get("synced"))
    except SocklbError:  # busy
        return False


def address(n: int) -> str:
    """Return Service n's ClusterIP."""
    return f"10.97.{n >> 8}.{n & 255}"


def changes(
    agent: AgentUnderTest, services: int, make: Callable[[int, int], object]
) -> tuple[list[float], list[float]]:
    """Give new endpoints to one Service after the other, by `make(service, change)`.

    Returns the seconds until `make` was done, and until the frontend's row in the mapped table had changed.
    """
    done: list[float] = []
    there: list[float] = []
    maps = Pins(agent.bpffs).maps
    with closing(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
        numbers = row_numbers(maps)
        for change in range(CHANGES):
            n = change * 7 % services
            row = numbers[Frontend(pack_address(address(n)), 80, 6)]
            before = rows.read(row)
            began = time.monotonic()
            make(n, change)
            done.append(time.monotonic() - began)
            while rows.read(row) == before:
                time.sleep(0.0002)
                if time.monotonic() - began > LIMIT:
                    raise TimeoutError(f"change {change} is not in the kernel after {LIMIT} s:\n{agent.log[-2000:]}")
            there.append(time.monotonic() - began)
            time.sleep(PAUSE)
    return done, there


def row_numbers(maps: Path) -> dict[Frontend, int]:
    """Return the row of every frontend."""
    with closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as frontends:
        return {layout.unpack_frontend(key): layout.ROW_INDEX.unpack(value)[0] for key, value in frontends.items()}


def both(part: str, table: str, what: str, unit: str, seconds: list[float], goal: str = "") -> Iterator[Figure]:
    """Yield the median and, of enough values, the 99th percentile."""
    values = [one * {"s": 1, "ms": 1000}[unit] for one in seconds]
    yield Figure(part, table, what, "median", unit, *quantile(values), goal=goal)
    if len(values) >= 100:
        yield Figure(part, table, what, "p99", unit, *quantile(values, 0.99))
