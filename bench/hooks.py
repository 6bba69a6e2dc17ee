"""Nanoseconds of every hook, compared with an empty one and an observed one, from the kernel's own run-time statistics.

All are attached to sub-cgroups of our own and run the same sockets in turns, in one run. The column "empty" is the cost
of the call and the counting themselves; "watched" is the cost of a hook while `socklb monitor` runs. A second table has
whole connections, from socket() to close(), in the client's CPU time.
"""

from __future__ import annotations

import ctypes as ct
import os
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.figures import Figure, quantile
from rig.sandbox import (
    BACKENDS4,
    BACKENDS6,
    PORT,
    Sandbox,
    mounted_bpffs,
    running,
    serve,
    sh,
    udp_client,
    wait_for_servers,
)
from socklb.agent.monitors import EVERY
from socklb.datapath import hooks, libbpf
from socklb.datapath.links import link_info
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Backend, Difference, Frontend, Serving, pack_address

ROUNDS = 15
OPERATIONS = 1000
SERVICES = 1000
SERVICE = "10.96.0.10"
DIRECT = BACKENDS4[0]


class ProgramInfo(ct.Structure):
    """`struct bpf_prog_info` up to run_cnt (kernel 5.1); the kernel fills in what it knows."""

    _fields_ = (("before", ct.c_uint8 * 192), ("run_time_ns", ct.c_uint64), ("run_cnt", ct.c_uint64))


def measure() -> list[Figure]:
    """Measure."""
    of_hooks: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    whole: defaultdict[str, list[float]] = defaultdict(list)
    with places() as each:
        for turn in range(ROUNDS):
            for name, (place, _, run) in sorted(each.items(), reverse=bool(turn % 2)):
                whole[name].append(run(place, timed))
        with counting():
            count(each, of_hooks)
    return list(figures(of_hooks, whole))


def count(each: Mapping[str, Place], of_hooks: defaultdict[tuple[str, str, str], list[float]]) -> None:
    """Collect what every hook takes."""
    for turn in range(ROUNDS):
        for case in CASES:
            for name, (place, links, run) in sorted(each.items(), reverse=bool(turn % 2)):
                before = dict(read(links))
                run(place, case.work)
                after = dict(read(links))
                for hook in case.hooks:
                    spent, runs = (new - old for new, old in zip(after[hook], before[hook], strict=True))
                    of_hooks[case.label, hook, name].append(spent / runs)


def figures(of_hooks: Mapping[tuple[str, str, str], list[float]], whole: Mapping[str, list[float]]) -> Iterator[Figure]:
    """Yield the cost of every hook and of a whole connection, and how much higher that is while somebody watches."""
    title = f"ns a run, median and minimum of {ROUNDS} rounds of {OPERATIONS}; {SERVICES} Services"
    for case in CASES:
        for hook in case.hooks:
            for column in ("socklb", "empty", "watched"):
                goal = case.goals.get(hook, "") if column == "socklb" else ""
                yield from _both(title, f"{case.label}: {hook}", column, of_hooks[case.label, hook, column], goal)
    title = f"CPU from socket() to close() of TCP to a Service, median and minimum of {ROUNDS} rounds of {OPERATIONS}"
    for column in ("socklb", "watched"):
        yield from _both(title, "a connection", column, whole[column])
    ratios = [watched / plain for watched, plain in zip(whole["watched"], whole["socklb"], strict=True)]
    column = "watched / socklb, median of rounds"
    yield Figure("hooks", title, "a connection", column, "ratio", *quantile(ratios), goal="below 1.1")


def _both(title: str, what: str, column: str, values: Sequence[float], goal: str = "") -> Iterator[Figure]:
    yield Figure("hooks", title, what, column, "ns", *quantile(values), goal=goal)
    yield Figure("hooks", title, what, f"{column}, minimum", "ns", min(values))


def timed() -> float:
    """Return the nanoseconds of CPU of one connection."""
    began = time.process_time_ns()
    fresh_tcp()
    return (time.process_time_ns() - began) / OPERATIONS


def fresh_tcp() -> None:
    """Connect a new socket each time, without waiting for an answer."""
    for _ in range(OPERATIONS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect((SERVICE, 80))


def connect_udp_fresh() -> None:
    """Connect a new UDP socket each time; nothing is sent."""
    for _ in range(OPERATIONS):
        with udp_client(SERVICE) as client:
            client.connect((SERVICE, 80))


def connect_udp(to: tuple[str, int]) -> None:
    """Connect one UDP socket again and again."""
    with udp_client(SERVICE) as client:
        for _ in range(OPERATIONS):
            client.connect(to)


def ask_udp() -> None:
    """Send and receive on one unconnected socket."""
    with udp_client(SERVICE) as client:
        for _ in range(OPERATIONS):
            client.sendto(b"?", (SERVICE, 80))
            client.recvfrom(64)


def ask_udp_fresh() -> None:
    """Send and receive on a new socket each time."""
    for _ in range(OPERATIONS):
        with udp_client(SERVICE) as client:
            client.sendto(b"?", (SERVICE, 80))
            client.recvfrom(64)


def names() -> None:
    """Ask a connected socket for its peer."""
    with udp_client(SERVICE) as client:
        client.connect((SERVICE, 80))
        for _ in range(OPERATIONS):
            client.getpeername()


class Case(NamedTuple):
    """The work of the sockets, and the hooks that are measured meanwhile."""

    label: str
    hooks: tuple[str, ...]
    work: Callable[[], None]
    goals: Mapping[str, str] = MappingProxyType({})  # nanoseconds


CASES = (
    Case(
        "TCP, fresh socket, Service",
        ("connect4", "sock_release"),
        fresh_tcp,
        {"connect4": "260", "sock_release": "110"},
    ),
    Case("UDP, fresh socket, Service", ("connect4",), connect_udp_fresh),
    Case("UDP, same socket, Service", ("connect4",), partial(connect_udp, (SERVICE, 80)), {"connect4": "150"}),
    Case("UDP, same socket, no Service", ("connect4",), partial(connect_udp, (DIRECT, PORT)), {"connect4": "80"}),
    Case("UDP, fresh socket, Service", ("sendmsg4", "recvmsg4"), ask_udp_fresh),
    Case("UDP, same socket, Service", ("sendmsg4", "recvmsg4"), ask_udp),
    Case("UDP, connected", ("getpeername4",), names),
)


class Place(NamedTuple):
    """A sandbox, where its links are pinned, and how something is run there."""

    sandbox: Sandbox
    links: Path
    run: Callable[[Sandbox, Callable[[], Any]], Any] = Sandbox.run


@contextmanager
def places() -> Generator[dict[str, Place]]:
    """Yield three sandboxes: served by socklb, the same observed, and with empty hooks.

    The empty hooks let a Service address pass, so in that sandbox the Service address is the server's own.
    """
    with ExitStack() as opened:
        scratch = opened.enter_context(tempfile.TemporaryDirectory(prefix="socklb-bench-"))
        found: dict[str, Place] = {}
        for name in ("socklb", "empty", "watched"):
            bpffs = opened.enter_context(mounted_bpffs(Path(scratch, f"bpf-{name}")))
            place = Sandbox(f"socklb-bench-{name}")
            opened.callback(place.remove)
            sh("ip", "-n", place.name, "address", "add", f"{SERVICE}/32", "dev", "lo")
            found[name] = attach(name, opened, place, bpffs)
            opened.enter_context(running(place, serve_at(name)))
            wait_for_servers(place)
        yield found


def attach(name: str, opened: ExitStack, place: Sandbox, bpffs: Path) -> Place:
    """Attach what a place has."""
    if name == "empty":
        return Place(place, attach_empty(place, bpffs))
    node = attach_socklb(opened, place, bpffs)
    if name == "socklb":
        return Place(place, node.pins.links)
    node.observe()
    return Place(place, node.pins.links, partial(run_watched, node))


def run_watched(node: NodeDatapath, place: Sandbox, work: Callable[[], Any]) -> Any:
    """Run something while the hooks' reports are read as the agent reads them."""
    job = place.start(work)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(job.result)
        while not wait([done], EVERY).done:
            node.decisions()
        return done.result()


def serve_at(name: str) -> Callable[[], None]:
    """Serve on the backends, or on the Service address itself if nothing translates it."""
    return serve if name != "empty" else partial(serve, ((SERVICE, 80), (DIRECT, PORT), (BACKENDS6[-1], PORT)))


def attach_socklb(opened: ExitStack, place: Sandbox, bpffs: Path) -> NodeDatapath:
    """Serve `SERVICES` Services."""
    node = opened.enter_context(NodeDatapath(bpffs, place.cgroup))
    opened.callback(node.pins.remove)
    addresses = [SERVICE, *(f"10.97.{n >> 8}.{n & 255}" for n in range(SERVICES - 1))]
    served_by = Serving(tuple(Backend(pack_address(address), PORT) for address in BACKENDS4))
    node.tables.apply(
        Difference(
            put={
                Frontend(pack_address(address), 80, protocol): served_by
                for address in addresses
                for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
            }
        )
    )
    node.attach()
    return node


def attach_empty(place: Sandbox, bpffs: Path) -> Path:
    """Attach hooks that do nothing."""
    path = bpffs.with_name("empty.bpf.o")
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    source = Path(__file__).with_name("empty.bpf.c")
    subprocess.run(["clang", "-O2", "-g", "--target=bpf", include, "-c", source, "-o", path], check=True)
    links = bpffs / "empty"
    links.mkdir()
    with libbpf.Object.open(path) as obj:
        obj.load()
        hooks.attach(obj, place.cgroup, links)
    return links


@contextmanager
def counting() -> Generator[None]:
    """Make the kernel count while the descriptor is open (BPF_ENABLE_STATS, 5.8), without the host-wide switch."""
    descriptor = libbpf.library().bpf_enable_stats(0)
    try:
        yield
    finally:
        os.close(descriptor)


def read(links: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (nanoseconds, runs) of every hook's program."""
    for name in hooks.HOOKS:
        link = libbpf.get_pinned(links / name)
        program = libbpf.library().bpf_prog_get_fd_by_id(link_info(link, links / name).prog_id)
        info = ProgramInfo()
        libbpf.object_info(program, info, name)
        os.close(link)
        os.close(program)
        yield name, (info.run_time_ns, info.run_cnt)
