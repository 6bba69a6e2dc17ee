"""What an application waits for: socket operations through socklb and through kube-proxy's rules, against no Service.

    python -m bench latency --services 10,1000 --cycles 20

Every column has a client pod, a node and a server pod of its own. They take turns within one run (worker/main.c), and
each figure is the median over the cycles of "this column's turn / the turn of `direct` in the same cycle", and half the
width of that median's 95 % interval. `direct again` is a second path without a Service: its difference from 1 is noise.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path as File
from typing import NamedTuple

from bench import at_tc, iptables, nftables
from bench.latency_report import AGAIN, DIRECT, ROWS, Figures, Way, print_flatness, print_latency, print_loading
from bench.networks import CONNTRACK_SETTINGS, SERVER_PORT, SERVERS, Path, run_in
from bench.node import cgroup, load_services, room_for, serving
from bench.progress import progress
from bench.services import ENDPOINTS, SERVICE_PORT, services, tested_address

SERVICES = (10, 1000, 10_000, 100_000)
CYCLES = 60
RULES_UP_TO = 10_000  # Services; kube-proxy's rules for more take the kernel minutes to load
WORKER_LIMIT = 600.0  # seconds, of one operation


class Column(NamedTuple):
    """One way to the server."""

    name: str
    services: int
    path: Path
    cgroup: File
    to: tuple[str, int]


def main(counts: Sequence[int] = SERVICES, cycles: int = CYCLES) -> None:
    """Measure and print."""
    with ExitStack() as opened:
        scratch = File(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        worker = compile_worker(scratch)
        loading: dict[Way, float] = {}
        columns = [*direct_columns(opened), *service_columns(opened, scratch, counts, loading)]
        turns: dict[tuple[str, bool], Figures] = {}
        for operation, to_service in dict.fromkeys((row.operation, row.to_service) for row in ROWS):
            with progress(f"{operation} to {'a' if to_service else 'no'} Service, {cycles} cycles"):
                turns[operation, to_service] = run(worker, operation, cycles, columns, to_service=to_service)
    for count in counts:
        print_latency(count, turns)
    print_flatness(counts, turns)
    print_loading(counts, loading)


def direct_columns(opened: ExitStack) -> Iterator[Column]:
    """Give two ways without Services, which are the same but for their names."""
    plain = cgroup(opened, "plain")
    for name in (DIRECT, AGAIN):
        yield Column(name, 0, Path.make(opened), plain, (SERVERS[0], SERVER_PORT))


def service_columns(
    opened: ExitStack, scratch: File, counts: Iterable[int], loading: dict[Way, float]
) -> Iterator[Column]:
    """Give each way to a Service, and note the seconds that it took to make the Services known."""
    plain = cgroup(opened, "rules")
    for count in counts:
        to = (tested_address(count), SERVICE_PORT)
        hooked = cgroup(opened, f"socklb-{count}")
        node = serving(opened, scratch / f"bpf-{count}", hooked, room_for(count, ENDPOINTS))
        with progress(f"{count} Services into socklb's tables") as spent:
            load_services(node, count)
        loading["socklb", count] = spent[0]
        yield Column("socklb", count, Path.make(opened), hooked, to)
        yield packet_column(opened, scratch, count, plain, loading)
        for name, command, ruleset in RULES if count <= RULES_UP_TO else ():
            path, text = Path.make(opened), ruleset(services(count))
            with progress(f"{count} Services into {name} rules") as spent:
                run_in(path.node, *command, text=text)
            loading[name, count] = spent[0]
            run_in(path.node, "sysctl", "-qw", *CONNTRACK_SETTINGS)
            yield Column(name, count, path, plain, to)


def packet_column(opened: ExitStack, scratch: File, count: int, plain: File, loading: dict[Way, float]) -> Column:
    """Give the way of a client whose socket no hook sees: the packet path by eBPF."""
    path = Path.make(opened)
    with progress(f"{count} Services into the packet path's tables") as spent:
        at_tc.load(at_tc.serve(opened, scratch / f"tc-{count}", path), count)
    loading["packets", count] = spent[0]
    return Column("packets", count, path, plain, (tested_address(count), SERVICE_PORT))


RULES = (
    ("nftables", ("nft", "-f", "-"), nftables.ruleset),
    ("iptables", ("iptables-restore",), iptables.ruleset),
)


def compile_worker(scratch: File) -> File:
    """Compile the program that measures."""
    sources = sorted(File(__file__).with_name("worker").glob("*.c"))
    subprocess.run(["clang", "-O2", *sources, "-o", scratch / "worker"], check=True)
    return scratch / "worker"


def run(worker: File, operation: str, cycles: int, columns: Sequence[Column], *, to_service: bool) -> Figures:
    """Repeat an operation on all columns, and give nanoseconds."""
    paths: list[str] = []
    for column in columns:
        address, port = column.to if to_service else (SERVERS[0], SERVER_PORT)
        paths.append(f"{column.path.client}:{column.path.server}:{column.cgroup}:{address}:{port}")
    done = subprocess.run(
        [worker, operation, str(cycles), *paths],
        stdout=subprocess.PIPE,
        pass_fds=[network for column in columns for network in column.path],
        timeout=WORKER_LIMIT,
        check=True,
    )
    figures = array("I", done.stdout)
    each = len(figures) // len(columns) // cycles
    turns = [sorted(map(float, figures[i : i + each])) for i in range(0, len(figures), each)]
    return {(c.name, c.services): turns[i * cycles : (i + 1) * cycles] for i, c in enumerate(columns)}
