"""Host routing as the agent has it: devices towards pods are followed, and rules that are passed by are told."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from rig.sandbox import mounted_bpffs
from socklb.config import Config
from socklb.datapath.pins import Pins
from socklb.datapath.writer import MapWriter
from socklb.desired.network_flags import flags_of
from socklb.explain.asker import Asker
from socklb.explain.explanation import decide
from socklb.explain.tables import KernelTables
from socklb.explain.trail import Trail
from socklb.model import ANY4, Difference, Frontend, pack_address
from socklb.tc import links, passed_by
from socklb.tc import path as tc_path
from socklb.tc.path import TcPath
from socklb.tc.programs import Programs
from tests.packets.network import CLIENT, NODE, POD_CIDRS, PODS, Network, RoutedNetwork, with_servers
from tests.support.waiting import until_async
from tests.tc.translation.conftest import ADDRESSES, Ask, frontend, serving
from tests.tc.translation.test_host_routing import COUNTING
from tests.tc.translation.test_in_the_agent import wait

pytestmark = pytest.mark.usefixtures("default_routes")
CONFIG = Config(node="node", max_flows=1024, pod_cidrs=tuple(POD_CIDRS), host_routing=True)
SERVICE = "10.96.0.10"
WANTED = {
    Frontend(ANY4, 32000, 6): serving("a"),
    Frontend(ANY4, 32001, 6): serving("far"),
    frontend(SERVICE): serving("b"),
}
RULE = "nftables chain forward of table inet seen"


@pytest.fixture(scope="module", params=[RoutedNetwork, Network], ids=["routed", "bridged"])
def network(request: pytest.FixtureRequest) -> Generator[Network]:
    with with_servers(request.param) as place:
        yield place


@pytest.fixture
def pins(network: Network, objects: Path, tmp_path: Path) -> Generator[Pins]:
    """The tables of a node that serves, and a count of what its stack forwards."""
    with mounted_bpffs(tmp_path / "bpffs") as bpffs:
        place = Pins(bpffs, tmp_path)
        place.make()
        (bpffs / "unused").mkdir()
        with Programs.load(objects, place.maps, bpffs / "unused"):
            shutil.rmtree(bpffs / "unused")
        with closing(MapWriter(place.maps)) as tables:
            tables.apply(Difference(WANTED, add=ADDRESSES))
            tables.networks.set(flags_of(CONFIG.pod_cidrs, (), ("10.96.0.0/16",)))
        network.run("node", "sh", "-c", f"echo '{COUNTING}' | nft -f -")
        yield place
        network.run("node", "nft", "delete", "table", "inet", "seen")
        with network.inside("node"):
            links.remove(place.tc_links)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passed_by.EVERY + tc_path.EVERY < 15
    monkeypatch.setattr(tc_path, "EVERY", 0.2)
    monkeypatch.setattr(passed_by, "EVERY", 0.2)


@contextmanager
def forwarding(network: Network) -> Generator[list[int]]:
    """Give how many packets of TCP and UDP the node's stack forwards in a block, when that is over."""
    found: list[int] = []
    words = ("nft", "reset", "counter", "inet", "seen", "forwarded")
    network.run("node", *words)
    yield found
    said = network.output("node", *words).split()
    found.append(int(said[said.index("packets") + 1]))


def run(network: Network, path: TcPath, story: Callable[[], None]) -> None:
    async def told() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
            await asyncio.to_thread(story)

    with network.inside("node"):
        asyncio.run(told())


def towards_pods(path: TcPath) -> set[str]:
    return {device.name for device in path.facts.devices if device.of_pods}


def test_pods_are_handed_their_packets_while_it_is_configured(
    network: Network, pins: Pins, objects: Path, ask: Ask
) -> None:
    bridged = not isinstance(network, RoutedNetwork)
    asked = [
        (("client", NODE, 32000), f"a {CLIENT}"),
        (("client", NODE, 32001), f"far {NODE}"),
        (("a", PODS["far"], 8080), f"far {PODS['a']}"),
        (("b", PODS["far"], 8080), f"far {PODS['b']}"),
    ]
    if not bridged:  # between the ports of a bridge nobody routes
        asked.append((("a", PODS["b"], 8080), f"b {PODS['a']}"))
    with_it, without = TcPath(CONFIG, pins, objects), TcPath(structs.replace(CONFIG, host_routing=False), pins, objects)

    def served(*, past: bool) -> None:
        answers = [answer for _, answer in asked]
        assert [ask(*one)[0] for one, _ in asked] == answers, "until all neighbours are known"
        with forwarding(network) as seen:
            assert [ask(*one)[0] for one, _ in asked] == answers
        assert (seen == [0]) == past

    def story() -> None:
        assert towards_pods(with_it) == ({"cni0"} if bridged else {"a", "b"})
        assert with_it.facts.host_routing
        served(past=True)
        assert ask("a", SERVICE) == [f"b {PODS['a']}"], "a pod that no hook sees"
        served(past=True)
        assert with_it.facts.whole

    run(network, with_it, story)
    served(past=True)  # without an agent
    run(network, without, lambda: served(past=False))
    assert {pin.name.partition("-")[0] for pin in pins.tc_links.iterdir()}.isdisjoint({"routed_in"})


def test_it_is_explained_what_becomes_of_a_packet(network: Network, pins: Pins, objects: Path, ask: Ask) -> None:
    """As the count of what the stack forwards has it."""
    bridged = not isinstance(network, RoutedNetwork)
    devices = {name: network.output("node", "cat", f"/sys/class/net/{name}/ifindex") for name in ("a", "b")}
    client = Asker("outside", outside=True, addresses=(pack_address(CLIENT),))
    pod = Asker("a", addresses=(pack_address(PODS["a"]),), devices=(int(devices["a"]),))
    into, on = "at cni0" if bridged else "into the pod at a", "to the neighbour at eth0, past netfilter"
    into = f"to the neighbour {into}" if bridged else into
    asked = [
        (client, ("client", NODE, 32000), into),
        (client, ("client", NODE, 32001), on),
        (pod, ("a", PODS["far"], 8080), on),
    ]

    def explained(asker: Asker, address: str, port: int) -> tuple[str, set[str]]:
        trail = Trail()
        with network.inside("node"), closing(KernelTables(pins)) as tables:
            _, text = decide(tables, pins, Path("/nowhere"), frontend(address, port), asker, trail)
        return text, {step.table for step in trail.steps if step.at == "host_routing"}

    def story() -> None:
        for asker, words, said in asked:
            ask(*words)
            with forwarding(network) as seen:
                ask(*words)
            text, tables = explained(asker, *words[1:])
            assert (seen, tables) == ([0], {"ways"})
            assert said in text
        assert "nothing is routed" in explained(pod, PODS["b"], 8080)[0] or not bridged
        assert explained(client, CLIENT, 80)[0].endswith("the node's stack sends it by eth0")
        assert "goes nowhere" in explained(client, SERVICE, 81)[0]
        network.run("node", "ip", "rule", "add", "dport", "53", "lookup", "main")
        wait(lambda: "the node's stack sends it by eth0" in explained(client, NODE, 32001)[0])
        network.run("node", "ip", "rule", "delete", "dport", "53")

    run(network, TcPath(CONFIG, pins, objects), story)
    without = TcPath(structs.replace(CONFIG, host_routing=False), pins, objects)
    run(network, without, lambda: None)
    assert explained(*asked[0][:1], *asked[0][1][1:]) == ("", set())


def test_devices_of_pods_are_followed(network: Network, pins: Pins, objects: Path, ask: Ask) -> None:
    path = TcPath(CONFIG, pins, objects)
    before = {"cni0"} if not isinstance(network, RoutedNetwork) else {"a", "b"}

    def story() -> None:
        assert towards_pods(path) == before
        words = ("link", "add", "late", "type", "veth", "peer", "name", "eth7", "netns", network.of("client"))
        network.run("node", "ip", *words)
        network.run("node", "ip", "link", "set", "late", "up")
        network.run("node", "ip", "route", "add", "10.244.1.99/32", "dev", "late")
        wait(lambda: towards_pods(path) == before | {"late"})
        wait(lambda: not path.problems or RULE in path.problems[0].message)
        network.run("node", "ip", "link", "delete", "late")
        looks: list[bool | None] = []
        wait(lambda: bool(looks.append(path.facts.whole)) or (len(looks) > 100 and towards_pods(path) == before))
        assert set(looks) == {True}, "a pod that went is no damage, not for a moment"
        assert path.facts.damages == 0

    run(network, path, story)


def test_rules_that_are_passed_by_are_told_while_they_are_there(network: Network, pins: Pins, objects: Path) -> None:
    path = TcPath(CONFIG, pins, objects)

    def told() -> list[str]:
        return [problem.message for problem in path.problems if RULE in problem.message]

    def story() -> None:
        wait(lambda: bool(told()))
        assert "host_routing = false" in told()[0]
        network.run("node", "nft", "flush", "chain", "inet", "seen", "forward")
        wait(lambda: not told())
        assert path.facts.whole

    run(network, path, story)


def test_without_host_routing_no_rules_are_looked_for(network: Network, pins: Pins, objects: Path) -> None:
    path = TcPath(structs.replace(CONFIG, host_routing=False), pins, objects)
    run(network, path, lambda: None)
    assert path.problems == []


def test_where_routes_depend_on_ports_nothing_is_handed_on(
    network: Network, pins: Pins, objects: Path, ask: Ask
) -> None:
    path = TcPath(CONFIG, pins, objects)

    def told() -> bool:
        return any("depend on ports" in problem.message for problem in path.problems)

    def past() -> bool:
        with forwarding(network) as seen:
            assert ask("a", PODS["far"], 8080) == [f"far {PODS['a']}"]
        return seen == [0]

    def story() -> None:
        past()
        assert past(), "the control"
        network.run("node", "ip", "rule", "add", "dport", "53", "lookup", "main")
        wait(told)
        time.sleep(1.1)
        assert not past()
        network.run("node", "ip", "rule", "delete", "dport", "53")
        wait(lambda: not told())
        assert past()

    run(network, path, story)
