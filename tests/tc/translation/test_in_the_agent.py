"""The packet path as the agent has it, with its own thread: clients outside and pods that no hook sees are served."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from rig.sandbox import mounted_bpffs
from socklb.cli import main
from socklb.config import Config
from socklb.datapath.dump import Fill
from socklb.datapath.links import detach_pinned
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.datapath.sizes import Sizes
from socklb.datapath.writer import MapWriter
from socklb.desired.catalog import FILE, Entry
from socklb.desired.network_flags import flags_of
from socklb.explain.asker import Asker
from socklb.explain.explanation import decide
from socklb.explain.tables import KernelTables
from socklb.explain.trail import Trail
from socklb.model import ANY4, Addresses, Difference, Frontend, pack_address
from socklb.tc import layout, links, played
from socklb.tc import path as tc_path
from socklb.tc.attached import Attached
from socklb.tc.lo import OURS
from socklb.tc.path import TcPath
from socklb.tc.places import L3
from socklb.tc.programs import Programs
from socklb.tc.seen import seen
from tests.packets.network import CLIENT, CLIENT6, NODE, POD_CIDRS, VIRTUAL, VIRTUAL6, Network
from tests.support.waiting import until_async
from tests.tc.translation.conftest import ADDRESSES, Ask, frontend, names, serving
from tests.tc.translation.tunnel import DEVICE, TUNNEL, tunnelled

pytestmark = pytest.mark.usefixtures("default_routes")
CONFIG = Config(node="node", max_flows=1024, pod_cidrs=tuple(POD_CIDRS))
SERVICE = "10.96.0.10"
WANTED = {
    Frontend(ANY4, 32000, 6): serving("a"),
    Frontend(ANY4, 32000, 17): serving("a"),
    Frontend(ANY4, 32001, 6): serving("far"),
    frontend(SERVICE): serving("b"),
    frontend("10.96.0.11"): serving(),
}


@pytest.fixture
def pins(network: Network, objects: Path, tmp_path: Path) -> Iterator[Pins]:
    """The tables of a node that serves."""
    with mounted_bpffs(tmp_path / "bpffs") as bpffs:
        place = Pins(bpffs, tmp_path)
        place.make()
        unused = bpffs / "unused"
        unused.mkdir()
        with Programs.load(objects, place.maps, unused):
            shutil.rmtree(unused)
        with closing(MapWriter(place.maps)) as tables:
            tables.apply(Difference(WANTED, add=ADDRESSES))
            tables.networks.set(flags_of(CONFIG.pod_cidrs, (), ("10.96.0.0/16",)))
        yield place
        with network.inside("node"):
            links.remove(place.tc_links)


@pytest.fixture
def path(network: Network, pins: Pins, objects: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], TcPath]:
    monkeypatch.setattr(tc_path, "EVERY", 0.2)
    return lambda: TcPath(CONFIG, pins, objects)


@pytest.fixture
def no_way_to_services(network: Network, default_routes: None) -> Iterator[None]:
    """A node without a default route, which its pods reach the other nodes by."""
    ways = [(["default"], CLIENT), *(([one], CLIENT6 if ":" in one else CLIENT) for one in (*VIRTUAL, *VIRTUAL6))]
    for to, _ in ways:
        network.run("node", "ip", "route", "delete", *to)
    network.run("node", "ip", "-6", "route", "delete", "default")
    yield
    for to, via in ways[1:]:
        network.run("node", "ip", "route", "add", *to, "via", via)


def run(network: Network, path: TcPath, story: Callable[[], None]) -> None:
    async def told() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
            await asyncio.to_thread(story)

    with network.inside("node"):
        asyncio.run(told())


def served(ask: Ask) -> list[list[str]]:
    asked = (
        *(("client", NODE, 32000), ("client", NODE, 32001)),
        *(("a", SERVICE, 80), ("a", "10.96.0.11", 80), ("a", "10.96.77.7", 80)),
    )
    return [ask(*one) for one in asked]


def test_processes_of_the_node_that_are_left_out_are_served_at_its_own_addresses(
    network: Network, pins: Pins, ask: Ask, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tc_path, "EVERY", 0.2)
    accept = ("sysctl", "-n", "net.ipv4.conf.lo.accept_local")
    config = structs.replace(CONFIG, bypass_cgroups=("left/out",))
    path, without = TcPath(config, pins, objects), TcPath(CONFIG, pins, objects)

    def at_lo() -> bool:
        return any(device.name == "lo" and not device.trouble for device in path.facts.devices)

    def explained() -> str:
        trail, asker = Trail(), Asker("left out", here=True, addresses=(pack_address(NODE),))
        with network.inside("node"), closing(KernelTables(pins)) as tables:
            verdict, _ = decide(tables, pins, Path("/nowhere"), frontend(NODE, 32001), asker, trail)
        return f"{verdict.outcome} {verdict.why}"

    def story() -> None:
        assert at_lo()
        assert ask("node", NODE, 32001, times=3) == [f"far {NODE}"] * 3
        assert ask("node", NODE, 32000)[0] in {f"a {NODE}", "TIMEOUT"}  # the first packet waits for a's programs
        wait(lambda: ask("node", NODE, 32000) == [f"a {NODE}"])
        assert explained() == "translated "
        for number, damage in enumerate((("sysctl", "-w", f"{accept[2]}=0"), ("true",)), start=1):
            network.run("node", *damage)
            if damage == ("true",):
                detach_pinned(pins.tc_links / "uplink_out-1")
            wait(lambda number=number: path.facts.damages == number)
            assert "lo" in path.facts.damage
            assert at_lo()
            assert ask("node", NODE, 32001) == [f"far {NODE}"]
        (pins.tc / OURS).rmdir()  # with all pins: what the agent set could not be told from what was there
        wait((pins.tc / OURS).is_dir)

    run(network, path, story)
    assert ask("node", NODE, 32001) == [f"far {NODE}"], "without an agent"
    run(network, without, lambda: None)
    assert ask("node", NODE, 32001) == ["ECONNREFUSED"], "the control"
    assert network.output("node", *accept) == "0"
    assert "it stays on this machine, at lo, which is served where" in explained()


ALL = [[f"a {CLIENT}"], [f"far {NODE}"], ["b 10.244.1.2"], ["ECONNREFUSED"], ["ECONNREFUSED"]]


def test_clients_outside_and_pods_that_no_hook_sees_are_served(
    network: Network, ask: Ask, path: Callable[[], TcPath]
) -> None:
    first = path()

    def story() -> None:
        assert {device.name for device in first.facts.devices} == {"eth0"}
        assert served(ask) == ALL
        assert {device.name for device in first.facts.devices if device.of_pods} == {"a", "b"}
        assert first.facts.counters["flows_begun"] == 3
        assert first.fills[0].used <= 3, "those that are closed are not in use"
        assert first.facts.whole
        assert names(ask("node", SERVICE)) == {"b"}
        network.run("node", "ip", "link", "add", "late", "master", "cni0", "type", "veth", "peer", "name", "latepeer")
        wait(lambda: {device.name for device in first.facts.devices if device.of_pods} == {"a", "b", "late"})
        network.run("node", "ip", "link", "delete", "late")
        wait(lambda: {device.name for device in first.facts.devices if device.of_pods} == {"a", "b"})

    run(network, first, story)
    assert served(ask) == ALL, "without an agent"
    second = path()

    def again() -> None:
        assert {device.name for device in second.facts.devices if device.of_pods} == {"a", "b"}
        assert served(ask) == ALL

    run(network, second, again)


def test_a_client_outside_is_played_at_the_uplink(network: Network, path: Callable[[], TcPath]) -> None:
    first = path()

    def story() -> None:
        (device,) = [device for device in first.facts.devices if not device.of_pods]
        asked = frontend(NODE, 32000)
        with network.inside("node"):  # the story has a thread of its own
            assert played.problem(device.ifindex, asked, WANTED[Frontend(ANY4, 32000, 6)].backends) == ""
            assert "none of its backends" in played.problem(device.ifindex, asked, ())

    run(network, first, story)


def test_what_is_over_is_swept(
    network: Network, pins: Pins, ask: Ask, path: Callable[[], TcPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tc_path, "SWEEP_EVERY", 0.2)
    first = path()

    def story() -> None:
        assert ask("client", NODE, 32000) == ALL[0]
        wait(lambda: first.fills == [Fill("flows", 0, 1024)])  # a closed connection hinders no new one
        time.sleep(1)
        assert remembered(pins) == 1  # for two minutes
        age(pins, 130)
        wait(lambda: remembered(pins) == 0)

    run(network, first, story)


def test_flows_are_listed(
    network: Network,
    pins: Pins,
    ask: Ask,
    path: Callable[[], TcPath],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = configured(pins, tmp_path)
    entries = [Entry("0.0.0.0:32000/TCP", "shop/web", "NodePort"), Entry("0.0.0.0:32001/TCP", "shop/far", "NodePort")]
    (tmp_path / FILE).write_bytes(msgspec.json.encode(entries))

    def listed(*words: str) -> list[dict[str, str]]:
        assert main(["flow", "list", "--config", str(settings), "--json", *words]) == 0
        flows: list[dict[str, str]] = json.loads(capsys.readouterr().out)
        return [{key: value for key, value in flow.items() if key not in ("age", "idle")} for flow in flows]

    def story() -> None:
        assert served(ask) == ALL
        service, web, far = sorted(listed(), key=lambda flow: flow["frontend"])
        assert (web["service"], web["backend"], web["seen_as"], web["state"]) == (
            "shop/web", "10.244.1.2:8080", None, "closed"
        )  # fmt: skip
        assert far["seen_as"].startswith(f"{NODE}:")
        assert service["client"].startswith("10.244.1.2:")
        assert listed("--service", "shop/web") == [web]
        assert listed("--backend", "10.244.2.2", "--protocol", "TCP") == [far]
        assert len(listed("--client", CLIENT)) == 2
        assert listed("--protocol", "udp") == []
        assert main(["flow", "list", "--config", str(settings), "--service", "shop/web"]) == 0
        head, line = capsys.readouterr().out.splitlines()
        assert head.split()[:4] == ["PROTOCOL", "CLIENT", "FRONTEND", "BACKEND"]
        assert line.split()[2:6] == [f"{NODE}:32000", "10.244.1.2:8080", "-", "closed"]

    run(network, path(), story)


def configured(pins: Pins, folder: Path) -> Path:
    settings = folder / "socklb.toml"
    lines = (f'bpffs = "{pins.bpffs}"', f'socket = "{folder}/agent.sock"', 'node = "node"', "packet_path = true")
    settings.write_text("\n".join(lines))
    return settings


def test_cleanup_leaves_nothing(
    network: Network, pins: Pins, ask: Ask, path: Callable[[], TcPath], tmp_path: Path
) -> None:
    run(network, path(), lambda: None)
    assert ask("client", NODE, 32000) == ALL[0]
    with network.inside("node"):
        assert main(["cleanup", "--config", str(configured(pins, tmp_path))]) == 0
    assert not pins.root.exists()
    assert ask("client", NODE, 32000) == ["ECONNREFUSED"]


def test_a_full_table_is_told_at_once(
    network: Network, path: Callable[[], TcPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for a sweep, which comes later than ten seconds on a busy node."""
    monkeypatch.setattr(tc_path, "SWEEP_EVERY", 3600.0)
    one = path()

    def story() -> None:
        ask_many(network, 1)
        assert not one.facts.losing
        ask_many(network, 2 * CONFIG.max_flows)
        wait(lambda: one.facts.losing)
        assert one.fills[0].used == CONFIG.max_flows

    run(network, one, story)


def ask_many(network: Network, count: int) -> None:
    """Send a datagram to a NodePort from each of so many ports outside: nothing closes these flows."""
    network.output("client", sys.executable, "-c", ASK_MANY, NODE, "32000", str(count))


ASK_MANY = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[3]))]
for client in clients:
    client.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
"""


def wait(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def remembered(pins: Pins) -> int:
    """Return how many flows have a row: that is in the low bits of its state."""
    with closing(RowTable(pins.tc_maps, "flows", layout.FLOW.size)) as rows:
        return sum(rows.word(row, 0) & 3 == layout.LIVE for row in range(rows.capacity))


def age(pins: Pins, seconds: int) -> None:
    """Have all flows seen so much longer ago."""
    with closing(RowTable(pins.tc_maps, "flows", layout.FLOW.size)) as rows:
        for row in range(rows.capacity):
            word = rows.word(row, 96)
            rows.publish(row, 96, word - (seconds * 10**9 >> 30) if word else 0)


def test_tables_that_grew_are_read_from_then_on(
    network: Network, ask: Ask, objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tc_path, "EVERY", 0.2)
    late = Frontend(ANY4, 32007, 6)
    with (
        mounted_bpffs(tmp_path / "bpffs") as bpffs,
        NodeDatapath(bpffs, tmp_path, objects, Sizes(8, 16), tmp_path / "run") as node,
    ):
        node.tables.apply(Difference(WANTED, add=ADDRESSES))
        path = TcPath(CONFIG, node.pins, objects)

        def story() -> None:
            node.grow(Sizes(64, 100))
            node.tables.apply(Difference({late: serving("b")}))
            assert ask("client", NODE, 32000) == [f"a {CLIENT}"]
            assert ask("client", NODE, 32007) != [f"b {CLIENT}"], "the control: these programs read the old tables"
            path.tables_moved()
            wait(lambda: ask("client", NODE, 32007) == [f"b {CLIENT}"])
            assert path.facts.whole

        try:
            run(network, path, story)
            assert ask("client", NODE, 32007) == [f"b {CLIENT}"], "without an agent"
        finally:
            with network.inside("node"):
                links.remove(node.pins.tc_links)


def test_the_first_connection_of_the_nodes_own_process_waits_for_the_programs(
    network: Network, ask: Ask, path: Callable[[], TcPath]
) -> None:
    first = path()

    def story() -> None:
        assert not any(device.of_pods for device in first.facts.devices)
        assert names(ask("node", SERVICE)) == {"b"}
        assert {device.name for device in first.facts.devices if device.of_pods} == {"a", "b"}
        assert ask("node", SERVICE, kind="tcp", times=3) == [f"b {NODE}"] * 3

    run(network, first, story)


def test_a_tunnel_without_an_ethernet_header_is_served_beside_the_others(
    network: Network, pins: Pins, ask: Ask, path: Callable[[], TcPath]
) -> None:
    (client, _), (own, _) = TUNNEL["client"], TUNNEL["node"]
    with closing(MapWriter(pins.maps)) as tables:
        tables.apply(
            Difference(add=Addresses(nodes=frozenset({pack_address(own)}), own=frozenset({pack_address(own)})))
        )
    first = path()

    def story() -> None:
        assert {device.name for device in first.facts.devices} == {"eth0"}
        with tunnelled(network):
            wait(lambda: {device.name for device in first.facts.devices} == {"eth0", DEVICE} and first.facts.whole)
            assert ask("client", own, 32000) == [f"a {client}"]
            assert ask("client", NODE, 32000) == [f"a {CLIENT}"]
            with network.inside("node"):
                assert seen(pins).whole
                assert [played.can_be(socket.if_nametoindex(name)) for name in ("eth0", DEVICE)] == [True, False]
                detach_pinned(pins.tc_links / f"uplink_in{L3}-{socket.if_nametoindex(DEVICE)}")
            wait(lambda: first.facts.damages == 1 and bool(first.facts.whole))
            assert ask("client", own, 32000) == [f"a {client}"]
        wait(lambda: {device.name for device in first.facts.devices} == {"eth0"})

    run(network, first, story)


@pytest.mark.usefixtures("no_way_to_services")
def test_pods_are_served_where_no_route_leads_to_services(
    network: Network, ask: Ask, path: Callable[[], TcPath]
) -> None:
    """What they ask comes to no uplink, for the node has nowhere to send it."""
    first = path()
    assert ask("a", SERVICE) in (["TIMEOUT"], ["ENETUNREACH"]), "the control"

    def story() -> None:
        assert {device.name for device in first.facts.devices if device.of_pods} == {"a", "b"}
        assert ask("a", SERVICE) == ["b 10.244.1.2"]
        assert ask("a", "10.96.0.11") == ["ECONNREFUSED"]

    run(network, first, story)


def test_the_bridge_of_pods_that_are_served_is_known_after_one_look(
    network: Network, pins: Pins, objects: Path
) -> None:
    """A process of the node asks those pods by it."""
    pins.tc_maps.mkdir(parents=True)
    with (
        network.inside("node"),
        Programs.load(objects, pins.maps, pins.tc_maps, 1024) as programs,
        closing(Attached(programs.by_name, pins, (), all_pods=True)) as attached,
    ):
        attached.follow()
        expected = {socket.if_nametoindex(name) for name in ("a", "b", "cni0")}
    with closing(HashTable(pins.tc_maps, "pod_devices", layout.IFINDEX.size, 1)) as table:
        assert {layout.IFINDEX.unpack(key)[0] for key, _ in table.items()} == expected


def test_the_first_packet_of_a_pod_is_served_where_hooks_leave_pods_alone(
    network: Network, pins: Pins, objects: Path, ask: Ask
) -> None:
    path = TcPath(structs.replace(CONFIG, pod_sockets=False), pins, objects)

    def sent_again() -> str:
        """Return how many segments of this pod were, since it is there."""
        names, values = (
            line.split()
            for line in network.output("a", "cat", "/proc/net/snmp").splitlines()
            if line.startswith("Tcp:")
        )
        return values[names.index("RetransSegs")]

    def story() -> None:
        before = sent_again()
        assert ask("a", SERVICE) == ["b 10.244.1.2"]
        assert sent_again() == before, "a SYN was lost"

    run(network, path, story)
