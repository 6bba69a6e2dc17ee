"""A node with the eBPF packet path at its uplink, in namespaces of its own; every test begins with empty tables."""

from __future__ import annotations

import ctypes as ct
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.datapath import layout, libbpf
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.writer import MapWriter
from socklb.model import Addresses, Backend, Difference, Frontend, Serving, address_text, pack_address
from socklb.tc import layout as tc
from socklb.tc.events import Unhooked
from socklb.tc.programs import NAMES, Programs
from tests.packets.network import ADDRESSES, CLIENT, CLIENT6, NODE, NODE6, PODS, PODS6, Network, with_servers
from tests.packets.programs import asking

ROOT = Path(__file__).parents[3]
NETWORKS = {
    ("10.244.0.0", 16): layout.POD_NETWORK,
    ("fd00:10:244::", 48): layout.POD_NETWORK,
    ("10.96.0.0", 16): layout.SERVICE_NETWORK,
    ("fd00:10:96::", 112): layout.SERVICE_NETWORK,
}
HAS_OUTSIDE = 16  # a flag of a frontend, as bpf/types.h has it
MAX_FLOWS = 1024
DEFAULT_ROUTES = (["-4", "default", "via", CLIENT], ["-6", "default", "via", CLIENT6])


@pytest.fixture(scope="session")
def objects() -> Path:
    """The objects as they are shipped."""
    subprocess.run(["make", "-s", "-C", ROOT / "bpf"], check=True)
    return ROOT / "socklb" / "datapath"


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with with_servers() as place:
        yield place


@pytest.fixture
def default_routes(network: Network) -> Iterator[None]:
    """As nodes have them: what a pod asks of a Service leaves by the uplink, or would."""
    for family, *way in DEFAULT_ROUTES:
        network.run("node", "ip", family, "route", "add", *way)
    yield
    for family, *way in DEFAULT_ROUTES:
        network.run("node", "ip", family, "route", "delete", *way, check=False)


def mac(node: Node, place: str, device: str) -> bytes:
    """Return the hardware address of a device."""
    return bytes.fromhex(node.network.output(place, "cat", f"/sys/class/net/{device}/address").replace(":", ""))


class Node:
    """The packet path of the node: its programs, attached by `tc`, and its tables."""

    def __init__(self, network: Network, pins: Path, objects: Path, *, host_routing: bool = False) -> None:
        self.network = network
        self.maps, self._pins = pins / "maps", pins
        for folder in (self.maps, pins / "programs"):
            folder.mkdir()
        self.programs = Programs.load(objects, self.maps, self.maps, MAX_FLOWS, host_routing=host_routing)
        for program in NAMES:
            libbpf.pin(self.programs.fd(program), pins / "programs" / program)
        self.tables = MapWriter(self.maps)
        self.events = Unhooked(self.programs.maps["unhooked"])
        self.attach("eth0", "uplink")
        self.make_uplink("eth0")

    def attach(self, device: str, kind: str) -> None:
        """Put the programs of this kind at a device of the node: for uplinks, for pods, or of pods that are routed."""
        self.network.run("node", "tc", "qdisc", "add", "dev", device, "clsact")
        for way, hook in (("in", "ingress"), ("out", "egress"))[: 1 if kind == "routed" else 2]:
            program = str(self._pins / "programs" / f"{kind}_{way}")
            words = ["filter", "add", "dev", device, hook, "bpf", "da", "object-pinned", program]
            self.network.run("node", "tc", *words)

    def detach(self, device: str) -> None:
        self.network.run("node", "tc", "qdisc", "delete", "dev", device, "clsact")

    @contextmanager
    def pods_at(self, device: str) -> Generator[None]:
        """Have pods served at a device while the block runs, as the agent does that."""
        index = tc.IFINDEX.pack(self.index_of(device))
        with closing(HashTable(self.maps, "pod_devices", tc.IFINDEX.size, 1)) as devices:
            self.attach(device, "pod")
            devices.put([(index, b"\1")])
            try:
                yield
            finally:
                devices.delete([index])
                self.detach(device)

    @contextmanager
    def node_at_lo(self) -> Generator[None]:
        """Have the node's own processes served at its own addresses while the block runs, as the agent does that."""
        lo, accept = tc.IFINDEX.pack(self.index_of("lo")), "net.ipv4.conf.lo.accept_local"
        words = ("bpf", "da", "object-pinned", str(self._pins / "programs" / "uplink_out"))
        with closing(HashTable(self.maps, "pod_devices", tc.IFINDEX.size, 1)) as devices:
            self.network.run("node", "tc", "qdisc", "add", "dev", "lo", "clsact")
            self.network.run("node", "tc", "filter", "add", "dev", "lo", "egress", *words)
            self.network.run("node", "sysctl", "-q", "-w", f"{accept}=1")
            devices.put([(lo, b"\1")])
            try:
                yield
            finally:
                devices.delete([lo])
                self.network.run("node", "sysctl", "-q", "-w", f"{accept}=0")
                self.detach("lo")

    def index_of(self, device: str) -> int:
        return int(self.network.output("node", "cat", f"/sys/class/net/{device}/ifindex"))

    def make_uplink(self, device: str) -> None:
        index = self.index_of(device)
        uplink = tc.UPLINK.pack(pack_address(NODE), pack_address(NODE6))
        self.put("uplinks", (layout.ROW_INDEX.pack(index), uplink))
        self.put("networks", *((network_key(*key), bytes([flags])) for key, flags in NETWORKS.items()))

    def say_who_stands_in(self, *addresses: str) -> None:
        """Have these addresses of the node stand for pods that are their own backends; none: nobody."""
        self.put(
            "uplinks",
            (layout.ROW_INDEX.pack(tc.ANY_UPLINK), tc.UPLINK.pack(*map(pack_address, addresses or ["::"] * 2))),
        )

    def put(self, table: str, *items: tuple[bytes, bytes]) -> None:
        """One by one: before Linux 5.13 tries are not written in batches."""
        for key, value in items:
            assert not libbpf.library().bpf_map_update_elem(self.programs.maps[table], key, value, ct.c_uint64(0))

    def sync(self, frontends: dict[Frontend, Serving], addresses: Addresses = ADDRESSES) -> None:
        """Have these alone."""
        known = self.tables.addresses
        gone = self.tables.frontends - frontends.keys()
        self.tables.apply(Difference(frontends, gone, addresses.without(known), known.without(addresses)))

    def row_of(self, frontend: Frontend) -> int:
        with closing(HashTable(self.maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as table:
            (row,) = layout.ROW_INDEX.unpack(dict(table.items())[layout.pack_frontend(frontend)])
        return int(row)

    def fill_row_of(self, frontend: Frontend, backend: Backend) -> None:
        """Have another backend in the one row of a frontend's set, as when it was given away and back."""
        with closing(RowTable(self.maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
            base, count = layout.unpack_set(rows.word(self.row_of(frontend), layout.SET_OFFSET))
        assert count == 1
        with closing(RowTable(self.maps, "backends", layout.BACKEND_ROW.size)) as rows:
            rows.write(base, layout.pack_backends((backend,)))

    def flag(self, frontend: Frontend, flags: int) -> int:
        """Set flags of a frontend; give its row."""
        row = self.row_of(frontend)
        with closing(RowTable(self.maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
            word = rows.word(row, layout.OPTIONS_OFFSET)
            rows.publish(row, layout.OPTIONS_OFFSET, word | flags << 32)
        return row

    def flows(self) -> list[tc.Flow]:
        with closing(RowTable(self.maps, "flows", tc.FLOW.size)) as rows:
            found = (tc.unpack_flow(rows.read(row)) for row in range(rows.capacity))
            return [flow for flow in found if flow]

    def age(self, seconds: int) -> None:
        """Have all flows seen and begun so much longer ago."""
        with closing(RowTable(self.maps, "flows", tc.FLOW.size)) as rows:
            for row in range(rows.capacity):
                word = rows.word(row, 96)
                seen, begun = word & 0xFFFFFFFF, word >> 32
                ticks = (seconds * 10**9) >> 30
                rows.publish(row, 96, (begun - ticks & 0xFFFFFFFF) << 32 | (seen - ticks & 0xFFFFFFFF))

    def index(self) -> dict[bytes, bytes]:
        with closing(HashTable(self.maps, "flow_index", tc.TUPLE.size, 4)) as index:
            return dict(index.items())

    def counters(self) -> dict[str, int]:
        return self.programs.counters()

    def unhooked(self) -> set[str]:
        """The clients that events told of, since the last call."""
        return {address_text(event.client) for event in self.events.read()}

    def forget(self) -> None:
        """Begin anew."""
        self.sync({}, Addresses())
        with closing(HashTable(self.maps, "flow_index", tc.TUPLE.size, 4)) as index:
            index.delete([key for key, _ in index.items()])
        with closing(RowTable(self.maps, "flows", tc.FLOW.size)) as rows:
            rows.write(0, bytes(rows.capacity * tc.FLOW.size))

    def close(self) -> None:
        self.events.close()
        self.tables.close()
        self.programs.close()


def network_key(address: str, length: int) -> bytes:
    return layout.NETWORK.pack(length + (0 if ":" in address else 96), pack_address(address))


@pytest.fixture(scope="session")
def loaded(network: Network, objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with mounted_bpffs(tmp_path_factory.mktemp("bpffs")) as bpffs, closing(Node(network, bpffs, objects)) as node:
        yield node


@pytest.fixture
def node(loaded: Node) -> Iterator[Node]:
    yield loaded
    loaded.forget()


Ask = Callable[..., list[str]]


@pytest.fixture
def ask(network: Network) -> Ask:
    def ask(place: str, address: str, port: int = 80, kind: str = "tcp", times: int = 1, own: int = 0) -> list[str]:
        return network.output(place, *asking(address, port, kind, times, own)).splitlines()

    return ask


def frontend(address: str, port: int = 80, protocol: int = 6) -> Frontend:
    return Frontend(pack_address(address), port, protocol)


def backends(*pods: str, six: bool = False) -> tuple[Backend, ...]:
    return tuple(Backend(pack_address((PODS6 if six else PODS)[pod]), 8080) for pod in pods)


def serving(*pods: str, six: bool = False, affinity: int = 0) -> Serving:
    return Serving(backends(*pods, six=six), affinity)


def names(answers: Sequence[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}
