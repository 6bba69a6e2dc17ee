"""Services on the packet by eBPF: the packet path's programs at a node's device towards clients.

    tables = serve(opened, scratch / "tc", path)
    load(tables, 1000)

The client's connection begins a flow, whose destination changes as its packets come in and whose source changes as the
answers go out: what a NodePort's client outside meets whose pod is on this node, and a pod whose socket no hook sees.
"""

from __future__ import annotations

import ctypes as ct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path as File

from bench.networks import SERVER_PORT, Path
from bench.node import PROTOCOLS
from bench.services import SERVICE_PORT, services
from socklb.datapath.tables import Tables
from socklb.serving import Addresses, Backend, Difference, Frontend, Serving, pack_address
from socklb.tc import rtnetlink
from socklb.tc.links import Links
from socklb.tc.places import places
from socklb.tc.programs import Programs
from tests.datapath.sandbox import mounted_bpffs

OBJECTS = File(__file__).parents[1] / "socklb" / "datapath"
CLONE_NEWNET = 0x40000000


def serve(opened: ExitStack, bpffs: File, path: Path) -> Tables:
    """Attach the programs to the node's device towards the client; give their tables, which are empty."""
    pins = opened.enter_context(mounted_bpffs(bpffs))
    programs = opened.enter_context(Programs.load(OBJECTS, pins, pins))
    tables = Tables(pins)
    opened.callback(tables.close)
    with inside(path.node):
        (device,) = (found.ifindex for found in rtnetlink.read().devices if found.name == "client")
        links = Links(programs.by_name, pins / "links")
        opened.callback(links.close)
        if failures := links.keep(places([device])):
            raise RuntimeError("; ".join(failures))
    return tables


def load(tables: Tables, count: int) -> None:
    """Make `count` Services known."""
    put = {
        Frontend(pack_address(port.address), SERVICE_PORT, PROTOCOLS[port.protocol]): Serving(
            tuple(Backend(pack_address(address), SERVER_PORT) for address in port.endpoints)
        )
        for port in services(count)
    }
    tables.apply(Difference(put=put, add=Addresses(services=frozenset(frontend.address for frontend in put))))


@contextmanager
def inside(network: int) -> Iterator[None]:
    """Bring this thread into a namespace for a while."""
    libc = ct.CDLL(None, use_errno=True)
    with File("/proc/self/task", str(threading.get_native_id()), "ns/net").open() as home:
        if libc.setns(network, CLONE_NEWNET):
            raise OSError(ct.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)
