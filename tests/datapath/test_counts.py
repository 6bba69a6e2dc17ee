"""Connections and refusals as metrics: exact against a count of the test's own."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, Sandbox, ask_tcp
from socklb.api.source import Change
from socklb.datapath import layout
from socklb.datapath.counts import Connects
from socklb.datapath.features import SET_ERRNO, netns_cookie
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.desired.store import ObjectStore
from socklb.model import Difference
from socklb.sockets import counted
from socklb.sockets.counted import Counted
from tests.datapath.services import SERVICE4, SERVICE6, web
from tests.datapath.test_following import wait_for
from tests.datapath.test_health import get
from tests.unit.agent.shapes import the_slice

A, B, C = BACKENDS4[:3]
OTHER4, EMPTY4 = "10.96.0.11", "10.96.0.12"
LABELS = "service", "backend"


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    """Two Services that share a backend, and one that has none."""
    agent.write("node.yaml", node("w1", NODE4))
    agent.write("web.yaml", service("web", SERVICE4, SERVICE6, node_port=30080), endpoint_slice("web-4", A, B))
    agent.write("web-6.yaml", {**endpoint_slice("web-6", BACKENDS6[0])})
    agent.write("other.yaml", service("other", OTHER4), endpoint_slice("other-4", B, C))
    agent.write("empty.yaml", service("empty", EMPTY4))
    return agent


def begin(agent: AgentUnderTest, wanted: str = '"top:100"') -> None:
    agent.configure()
    with agent.config.open("a") as file:
        file.write(f"metrics_services = {wanted}\n")
    agent.start()


def metrics(agent: AgentUnderTest, name: str, *labels: str) -> dict[tuple[str, ...], int]:
    """Return a metric by the values of some labels."""
    status = agent.status()
    assert status
    text = get(status["listening"]["metrics"], "/metrics").body.decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(one.labels[label] for label in labels): int(one.value) for one in samples}


def ever(agent: AgentUnderTest) -> dict[tuple[str, ...], int]:
    return metrics(agent, "socklb_service_connects_total", *LABELS)


def now(agent: AgentUnderTest) -> dict[tuple[str, ...], int]:
    return {key: count for key, count in metrics(agent, "socklb_service_connections", *LABELS).items() if count}


def many(times: int) -> Counter[tuple[str, str]]:
    """Connect in turn to all Services, and count who answered."""
    found: Counter[tuple[str, str]] = Counter()
    asked = [("web", SERVICE4, 80), ("other", OTHER4, 80), ("web", SERVICE6, 80), ("web", NODE4, 30080)]
    for number in range(times):
        name, address, port = asked[number % len(asked)]
        answer, _ = ask_tcp(address, port)
        found[name, f"[{answer}]:8080" if ":" in answer else f"{answer}:8080"] += 1
    return found


def test_every_connect_is_counted_whoever_connects_at_once(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """And an agent that is killed and started again has the same count."""
    begin(serving)
    expected: Counter[tuple[str, ...]] = Counter()
    for _ in range(2):
        for done in [sandbox.start(lambda: many(2500)) for _ in range(4)]:
            expected += cast("Counter[tuple[str, ...]]", done.result())
        assert ever(serving) == expected
        serving.kill()
        serving.start()
        assert ever(serving) == expected
    assert sum(expected.values()) == 20_000
    assert len(expected) == 5


def test_connections_of_now_are_those_that_are_open(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """Of TCP and connected UDP, also of before the agent counted."""

    def hold() -> None:
        held = []
        for name, address in (("first", SERVICE4), ("second", OTHER4), ("third", OTHER4)):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                held.append(socket.socket(socket.AF_INET, kind))
                held[-1].connect((address, 80))
            (serving.home / name).touch()
            wait_for(serving.home, f"{name} told")
        for one in held:
            one.close()

    def total(name: str) -> int:
        return sum(count for (of, _), count in now(serving).items() if of == name)

    serving.start()
    job = sandbox.start(hold)
    wait_for(serving, "first")
    serving.stop()
    begin(serving)
    assert (total("web"), total("other")) == (2, 0)
    (serving.home / "first told").touch()
    for name, count in (("second", 2), ("third", 4)):
        wait_for(serving, name)
        assert (total("web"), total("other")) == (2, count)
        (serving.home / f"{name} told").touch()
    job.result()
    assert now(serving) == {}
    assert sum(ever(serving).values()) == 4


@pytest.mark.parametrize(
    ("wanted", "told"),
    [('"top:1"', {"other"}), ('"top:2"', {"other", "web"}), ('["default/web", "default/none"]', {"web"})],
    ids=["one", "two", "a list"],
)
def test_only_services_that_are_wanted_are_told(
    sandbox: Sandbox, serving: AgentUnderTest, wanted: str, told: set[str]
) -> None:
    begin(serving, wanted)
    sandbox.run(lambda: [ask_tcp(address, 80) for address in (SERVICE4, *[OTHER4] * 5)])
    assert {name for name, _ in ever(serving)} == told


def test_nothing_is_counted_unless_it_is_wanted(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.start()
    sandbox.run(lambda: ask_tcp(SERVICE4, 80))
    assert ever(serving) == {}
    with contextlib.closing(Connects(Pins(serving.bpffs).maps)) as connects:
        assert connects.read() == {}
        serving.stop()
        begin(serving)
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        assert sum(connects.read().values()) == 1, "the control"


def test_what_finds_no_room_is_told_of(sandbox: Sandbox, serving: AgentUnderTest, build: Callable[..., Path]) -> None:
    begin(serving)
    serving.stop()
    Pins(serving.bpffs).remove()
    with serving.config.open("a") as file:
        file.write(f'objects = "{build("-DMAX_CONNECTS=1")}"\n')
    serving.start()
    sandbox.run(lambda: [ask_tcp(SERVICE6, 80), ask_tcp(OTHER4, 80), ask_tcp(SERVICE6, 80)])
    status = serving.status()
    assert status
    assert status["uncounted"] == 1
    assert sum(ever(serving).values()) == 2


def refusal(asked: tuple[str, int, socket.SocketKind]) -> str:
    """Return the error of a connect, or at a NodePort of a bind."""
    address, port, kind = asked
    with socket.socket(socket.AF_INET, kind) as client:
        try:
            (client.bind if port == 30080 else client.connect)((address, port))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
    return ""


@pytest.mark.needs(SET_ERRNO)
def test_refusals_are_counted_by_their_reason(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.start()
    with contextlib.closing(RowTable(Pins(serving.bpffs).maps, "this_node", layout.NODE.size)) as this_node:
        this_node.publish(0, 0, sandbox.run(netns_cookie))

    def refused() -> Counter[str]:
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        asked = [(EMPTY4, 80, kind) for kind in kinds] * 100 + [(SERVICE4, 81, kind) for kind in kinds] * 50
        asked += [("0.0.0.0", 30080, kind) for kind in kinds] * 15
        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(refusal, asked))

    assert sandbox.run(refused) == {"ECONNREFUSED": 300, "EADDRINUSE": 30}
    found = metrics(serving, "socklb_refused_total", "reason")
    assert found == {("no_endpoint",): 200, ("no_such_port",): 100, ("port_in_use",): 30}


def test_what_leads_to_a_backend_that_is_long_gone_is_forgotten(
    sandbox: Sandbox, bpffs: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once: it is to be scraped."""
    with NodeDatapath(bpffs, sandbox.cgroup, objects, count_connects=True) as datapath:
        datapath.tables.apply(web((A,), (BACKENDS6[0],)))
        datapath.attach()
        found = Counted(datapath.pins.maps, "top:1", lambda asked, _: "default/web" if asked.port == 80 else None)
        state = ObjectStore()
        state.apply([Change("EndpointSlice", "default/web-1", the_slice())])
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))
        datapath.tables.apply(Difference())
        found.tidy(state)
        assert [row.ever for row in found.read()] == [1]
        monkeypatch.setattr(counted, "KEPT", 0.0)
        found.tidy(state)
        assert found.read() == []
    Pins(bpffs).remove()
