"""A node's datapath on a cgroup of the bench's own, gone when the bench ends."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from socket import IPPROTO_TCP, IPPROTO_UDP

from bench.networks import SERVER_PORT
from bench.services import SERVICE_PORT, services
from socklb.datapath import mounts
from socklb.datapath.node import NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.serving import Addresses, Backend, Difference, Frontend, Serving, pack_address
from tests.datapath.sandbox import mounted_bpffs, remove_cgroup

PROTOCOLS = {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP}


def cgroup(opened: ExitStack, name: str) -> Path:
    """Make a cgroup below one that carries our process number."""
    root = mounts.cgroup2_root(mounts.read_mounts())
    if root is None:
        raise RuntimeError("no cgroup-v2 hierarchy is mounted")
    base = root / f"socklb-bench-{os.getpid()}"
    if not base.exists():
        base.mkdir()
        opened.callback(remove_cgroup, base)
    directory = base / name
    directory.mkdir()
    opened.callback(remove_cgroup, directory)
    return directory


def room_for(count: int, endpoints: int) -> Sizes:
    """Give tables of the ordinary size, or larger ones if so many Services need them."""
    usual = Sizes()
    return Sizes(max(usual.frontends, count + count // 4), max(usual.backends, count * endpoints * 5 // 4))


def serving(opened: ExitStack, bpffs: Path, hooked: Path, sizes: Sizes) -> NodeDatapath:
    """Attach the hooks to a cgroup, with empty tables."""
    node = opened.enter_context(NodeDatapath(opened.enter_context(mounted_bpffs(bpffs)), hooked, sizes=sizes))
    opened.callback(node.pins.remove)
    node.attach()
    return node


def load_services(node: NodeDatapath, count: int) -> None:
    """Make `count` Services known to the hooks."""
    put: dict[Frontend, Serving] = {}
    for port in services(count):
        backends = tuple(Backend(pack_address(address), SERVER_PORT) for address in port.endpoints)
        put[Frontend(pack_address(port.address), SERVICE_PORT, PROTOCOLS[port.protocol])] = Serving(backends)
    addresses = frozenset(frontend.address for frontend in put)
    node.tables.apply(Difference(put=put, add=Addresses(services=addresses)))
    if node.tables.waiting:
        raise RuntimeError(f"{len(node.tables.waiting)} of {count} Services found no room")
