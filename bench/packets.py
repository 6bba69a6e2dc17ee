"""The cost of the packet path apart from packets: a sweep over all flows, and the verifier at an agent's start.

    python -m bench packets

The table of flows is filled to the last row by writing to it, both rows and index, as the programs would; then the
program that frees rows sweeps it, as it does every ten seconds: once while no flow has expired, and once when all have.
"""

from __future__ import annotations

import ctypes as ct
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from bench import verifier
from bench.figures import Figure, quantile
from bench.progress import progress
from bench.verifier import Taken
from rig.sandbox import mounted_bpffs
from socklb.datapath import libbpf
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.node_datapath import OBJECTS
from socklb.model import pack_address
from socklb.tc import layout
from socklb.tc.programs import Programs, possible_cpus

PART = "packets"
FLOWS = 1 << 18  # as many as the agent has room for
ROUNDS = 5
FRONTEND, BACKEND = pack_address("10.96.0.10"), pack_address("10.244.2.10")
UDP = 17
KINDS = 0b1001  # the client's packets and the answers: 0 and 3
LIVE = 1 << 2 | layout.LIVE  # the first flow of a row
AN_HOUR = 3600 * 10**9 >> 30  # in units of `seen`
ELEMENT = struct.Struct("=I")


def measure() -> list[Figure]:
    """Measure."""
    with progress("verifier"):
        hooks, packet_path = (quietest(load) for load in (verifier.hooks, verifier.packet_path))
    with progress(f"{FLOWS} flows"):
        going_on, over = sweeps()
    return [*of_verifier(hooks, packet_path), *of_sweeps(going_on, over)]


def of_verifier(hooks: list[Taken], packet_path: list[Taken]) -> Iterator[Figure]:
    """Yield the time of programs together, and of each that took a millisecond or more."""
    table = f"The verifier, least of {ROUNDS} loads"
    together = {"hooks": hooks, "packet path": packet_path, "all": [*hooks, *packet_path]}
    alone = {one.program: [one] for one in together["all"] if one.microseconds >= 1000}
    for name, taken in {**together, **alone}.items():
        goal = "< 150 ms" if name == "all" else ""
        yield Figure(PART, table, name, "time", "ms", sum(one.microseconds for one in taken) / 1000, goal=goal)
        yield Figure(PART, table, name, "walked", "instructions", sum(one.instructions for one in taken))


def of_sweeps(going_on: list[float], over: list[float]) -> Iterator[Figure]:
    """Yield the CPU of a sweep."""
    table = f"A sweep over {FLOWS:,} flows, median of {ROUNDS}"
    for what, spent, goal in (
        ("no flow is over", going_on, "< 100 ms"),
        ("all are over and are taken out of the index", over, ""),
    ):
        yield Figure(PART, table, what, "CPU", "ms", *quantile(1000 * one for one in spent), goal=goal)


def quietest(load: Callable[[], list[Taken]]) -> list[Taken]:
    """Return for each program the round with the least time."""
    return [min(rounds) for rounds in zip(*(load() for _ in range(ROUNDS)), strict=True)]


def sweeps() -> tuple[list[float], list[float]]:
    """Return the seconds of CPU of a sweep: over live flows, and over expired ones."""
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        pins = opened.enter_context(mounted_bpffs(scratch / "bpf"))
        programs = opened.enter_context(Programs.load(OBJECTS, pins, pins, FLOWS))
        rows = opened.enter_context(closing(RowTable(pins, "flows", layout.FLOW.size)))
        index = opened.enter_context(closing(HashTable(pins, "flow_index", layout.TUPLE.size, ELEMENT.size)))
        elements = [element for number in range(FLOWS) for element in _elements(number)]
        going_on: list[float] = []
        over: list[float] = []
        for age, spent, ended in ((0, going_on, 0), (AN_HOUR, over, FLOWS)):
            for _ in range(ROUNDS):
                rows.write(0, _flows((time.monotonic_ns() >> 30) - age))  # new each time: they live for 30 s
                if index.put(elements) != len(elements):
                    raise RuntimeError("the index of flows is full")
                count_begun(programs)
                begun = time.process_time()
                given_back = programs.sweep()
                spent.append(time.process_time() - begun)
                if given_back != ended:
                    raise RuntimeError(f"a sweep gave back {given_back} of {FLOWS} rows instead of {ended}")
        if any(True for _ in index.items()):
            raise RuntimeError("flows that are over are still in the index")
    return going_on, over


def count_begun(programs: Programs) -> None:
    """Count as many flows as begun as the table has, as the programs would: without any there is no sweep."""
    counter, values = libbpf.U32(layout.COUNTERS.index("flows_begun")), (ct.c_uint64 * possible_cpus())()
    values[0] = programs.counters()["flows_ended"] + FLOWS
    pin = programs.maps["packet_counters"]
    libbpf.call("write packet_counters", "bpf_map_update_elem", pin, ct.byref(counter), values, 0)


def _flows(seen: int) -> bytes:
    """Return a flow of a different client for every row, begun and last seen at this time."""
    return b"".join(_flow(number, seen & 0xFFFFFFFF) for number in range(FLOWS))


def _client(number: int) -> tuple[bytes, int]:
    return pack_address(f"198.18.{number >> 16}.1"), number & 0xFFFF


def _flow(number: int, seen: int) -> bytes:
    address, port = _client(number)
    ports = layout.PORTS.pack(port, 80, 8080, 0, port)
    ends = (address, FRONTEND, BACKEND, layout.NOBODY)
    more = (seen, seen, layout.NO_FRONTEND, 0, UDP, KINDS, 0, 1, 1)
    return layout.FLOW.pack(LIVE, *ends, 0, ports, *more)


def _elements(number: int) -> Iterator[tuple[bytes, bytes]]:
    address, port = _client(number)
    yield layout.TUPLE.pack(address, FRONTEND, port, 80, UDP, 0), ELEMENT.pack(number << 2)
    yield layout.TUPLE.pack(BACKEND, address, 8080, port, UDP, 1), ELEMENT.pack(number << 2 | 3)
