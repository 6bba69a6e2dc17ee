"""`socklb explain` says what a connection meets: compared with what connect() and sendto() of a real socket meet."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import (
    BACKENDS4,
    BACKENDS6,
    NODE4,
    NODE6,
    PORT,
    Sandbox,
    ask_tcp,
    ask_udp,
    running,
    serve,
    sh,
    udp_client,
)
from socklb.datapath import layout
from socklb.datapath.features import NETNS_COOKIE, SET_ERRNO, netns_cookie
from socklb.datapath.maps import RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.pins import Pins
from socklb.explain import asker
from socklb.explain.explanation import decide
from socklb.explain.tables import KernelTables
from socklb.explain.trail import KEPT, PASSED, REFUSED, TRANSLATED, Trail, Verdict
from socklb.model import ANY4, ANY6, Addresses, Backend, Difference, Frontend, Serving, endpoint_text, pack_address
from tests.datapath.loaded import this_node
from tests.datapath.pods import Pod
from tests.datapath.services import SERVICE4, SERVICE6, web

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
ROUNDS, QUESTIONS = 12, 60
# Whatever is asked for has a server of its own there, so that what passes is answered by nobody's backend.
VIPS = ("10.96.5.1", "10.96.5.2", "fd00:10:96:5::1", "fd00:10:96:5::2")
OTHER_NODE4, OTHER_NODE6 = "172.18.0.9", "fd00:172:18::9"
NODES = (NODE4, NODE6, OTHER_NODE4, OTHER_NODE6)
ASKED = (*VIPS, *NODES, "127.0.0.1", "::1", "127.9.9.9", "0.0.0.0", "::", BACKENDS4[0], BACKENDS6[0])
PORTS = (80, 81, 31080, 31081)
BACKENDS = {False: BACKENDS4, True: BACKENDS6}
REFUSED_BY_HOOK = "ECONNREFUSED: Service default/"
NOBODY = "has no ready endpoint"
SO = "so it is refused ('IPv4')"
ELSEWHERE = "it is another node's address, which serves this NodePort itself"
Met = tuple[str, str]
Question = tuple[str, int, int]


@contextlib.contextmanager
def served_everywhere(sandbox: Sandbox) -> Iterator[None]:
    """Have a server at every address and port that is asked for, but for the last port."""
    extra = [(ip, "128" if ":" in ip else "32") for ip in (*VIPS, OTHER_NODE4, OTHER_NODE6, "127.9.9.9")]
    for ip, bits in extra:
        sh("ip", "-n", sandbox.name, "address", "add", f"{ip}/{bits}", "dev", "lo", *["nodad"] * (":" in ip))
    places = [(ip, port) for ip in ASKED for port in PORTS[:-1] if pack_address(ip) not in (ANY4, ANY6)]
    try:
        with running(sandbox, lambda: serve(places)):
            sandbox.run(lambda: [connected(*place) for place in places], hooked=False)
            yield
    finally:
        for ip, bits in extra:
            sh("ip", "-n", sandbox.name, "address", "delete", f"{ip}/{bits}", "dev", "lo")


def connected(ip: str, port: int) -> None:
    """Wait for a server."""
    for _ in range(500):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((ip, port), 5).close()
    raise TimeoutError


def ask(ip: str, port: int, protocol: int) -> Met:
    """Return what a fresh socket meets: the server's name, or the error."""
    try:
        if protocol == TCP:
            return "answer", ask_tcp(ip, port)[0]
        with udp_client(ip) as client:
            if port != PORTS[-1]:
                return "answer", ask_udp(client, ip, port)[0]
            client.connect((ip, port))  # so that it is told that nobody listens
            client.send(b"?")
            return "answer", client.recv(100).decode()
    except OSError as error:
        return "error", type(error).__name__ if isinstance(error, TimeoutError) else str(error.errno)


class Sample:
    """Random tables and random questions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def tables(self) -> tuple[dict[Frontend, Serving], Addresses]:
        places = [pack_address(vip) for vip in VIPS] + [pack_address(NODE4), ANY4, ANY6]
        frontends = {
            Frontend(place, port, protocol): self.serving(six=not place.startswith(ANY4[:12]))
            for place in places
            for port in PORTS
            for protocol in (TCP, UDP)
            if self.random.random() < 0.6
        }
        services = frozenset(pack_address(vip) for vip in VIPS if self.random.random() < 0.7)
        nodes = frozenset(pack_address(ip) for ip in NODES if self.random.random() < 0.8)
        own = frozenset(pack_address(ip) for ip in (NODE4, NODE6) if self.random.random() < 0.8)
        return frontends, Addresses(services, nodes, own)

    def serving(self, *, six: bool) -> Serving:
        chance = self.random.random
        some = self.random.sample(BACKENDS[six], self.random.choice((0, 1, 2, 3)))
        return Serving(
            tuple(sorted(Backend(pack_address(ip), PORT) for ip in some)),
            affinity=100 * (chance() < 0.3),
            least_loaded=chance() < 0.3,
            own_node_only=chance() < 0.3,
            sources=("10.0.0.0/8",) if chance() < 0.15 else None,
        )

    def questions(self) -> list[Question]:
        choose = self.random.choice
        return [(choose(ASKED), choose(PORTS), choose((TCP, UDP))) for _ in range(QUESTIONS)]


def fits(verdict: Verdict, met: Met, unhooked: Met) -> bool:
    """Whether a verdict and what was met are the same."""
    if verdict.outcome == TRANSLATED:
        return met in [("answer", endpoint_text(one).rpartition(":")[0].strip("[]")) for one in verdict.backends]
    if verdict.outcome == REFUSED:
        return met == ("error", "111")
    return met == unhooked


def compare(sandbox: Sandbox, pins: Pins, questions: list[Question]) -> list[tuple[Verdict, Met]]:
    """Explain and ask, from the same process."""
    found = []
    with closing(KernelTables(pins)) as tables:
        me = asker.find("", sandbox.cgroup)
        for ip, port, protocol in questions:
            asked = Frontend(pack_address(ip), port, protocol)
            verdict, _ = decide(tables, pins, sandbox.cgroup, asked, me, Trail())
            found.append((verdict, ask(ip, port, protocol)))
    return found


def answers(questions: list[Question]) -> list[Met]:
    return [ask(*question) for question in questions]


@pytest.mark.needs(SET_ERRNO, NETNS_COOKIE)
@pytest.mark.parametrize("in_node", [False, True], ids=["a pod", "the node"])
@pytest.mark.parametrize("hooked", [False, True], ids=["beside the node's cgroup", "below it"])
def test_any_connection_meets_what_was_explained(
    sandbox: Sandbox, datapath: NodeDatapath, in_node: bool, hooked: bool
) -> None:
    sample, seen, kept = Sample(seed=20 + in_node), Counter[str](), 0
    this_node(datapath, sandbox.run(netns_cookie) if in_node else netns_cookie())
    with served_everywhere(sandbox):
        for _ in range(ROUNDS if hooked else 2):
            frontends, addresses = sample.tables()
            known = datapath.tables.addresses
            gone = datapath.tables.frontends - frontends.keys()
            changes = Difference(frontends, gone, addresses.without(known), known.without(addresses))
            datapath.tables.apply(changes)
            questions = sample.questions()

            explained = sandbox.run(partial(compare, sandbox, datapath.pins, questions), hooked=hooked)
            unhooked = sandbox.run(partial(answers, questions), hooked=False)
            for question, (verdict, met), passed in zip(questions, explained, unhooked, strict=True):
                assert fits(verdict, met, passed), f"{question}: {verdict}, and it met {met}; unhooked {passed}"
                seen[verdict.outcome] += 1
                kept += verdict.chosen == KEPT
    assert seen.keys() == ({TRANSLATED, REFUSED, PASSED} if hooked else {PASSED})
    assert min(seen.values()) > QUESTIONS
    assert bool(kept > 10) is hooked


@pytest.mark.needs(SET_ERRNO)
def test_a_bit_that_somebody_cleared_is_seen(sandbox: Sandbox, datapath: NodeDatapath) -> None:
    datapath.tables.apply(web(BACKENDS4[:1]))
    bit = layout.filter_bit(pack_address(SERVICE4))
    with served_everywhere(sandbox):
        ((before, met),) = sandbox.run(partial(compare, sandbox, datapath.pins, [(SERVICE4, 80, TCP)]))
        assert (before.outcome, met) == (TRANSLATED, ("answer", endpoint_text(before.backends[0]).partition(":")[0]))
        with closing(RowTable(datapath.pins.maps, "address_filter", layout.FILTER_WORD.size)) as words:
            words.publish(bit // 64, 0, 0)
        ((after, met),) = sandbox.run(partial(compare, sandbox, datapath.pins, [(SERVICE4, 80, TCP)]))
    assert (after.outcome, met) == (PASSED, ("error", str(errno.ENETUNREACH)))


def explained(agent: AgentUnderTest, asked: str, *more: str) -> dict[str, Any]:
    shown = agent.run("explain", asked, "--json", *more)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def from_below(sandbox: Sandbox) -> tuple[str, str]:
    """Have the sandbox's cgroup ask."""
    return "--from", str(sandbox.cgroup)


def on_node(slice_: dict[str, Any], name: str, *, ready: bool = True) -> dict[str, Any]:
    for endpoint in slice_["endpoints"]:
        endpoint |= {"nodeName": name, "conditions": {"ready": ready}}
    return slice_


def with_spec(given: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**given, "spec": {**given["spec"], **spec}}


@pytest.fixture
def serving_agent(agent: AgentUnderTest, sandbox: Sandbox) -> Iterator[AgentUnderTest]:
    """An agent with Services in several states, and a process below the node's cgroup."""
    local = with_spec(service("empty", "10.96.0.99", node_port=31080), internalTrafficPolicy="Local")
    local["spec"]["externalTrafficPolicy"] = "Local"
    agent.write(
        "all.yaml",
        node("w1", NODE4),
        node("w2", OTHER_NODE4),
        service("web", SERVICE4, SERVICE6),
        endpoint_slice("web-4", *BACKENDS4[:2]),
        local,
        on_node(endpoint_slice("empty-4", BACKENDS4[0]), "w2"),
        service("starting", "10.96.0.98"),
        on_node(endpoint_slice("starting-4", *BACKENDS4[:3]), "w1", ready=False),
        service("alone", "10.96.0.97"),
    )
    agent.start()
    with running_below(sandbox):
        yield agent


@contextlib.contextmanager
def running_below(sandbox: Sandbox) -> Iterator[int]:
    """Have a process in the node's cgroup."""
    job = sandbox.start(signal.pause)
    try:
        yield job.pid
    finally:
        job.kill()


@pytest.mark.needs(SET_ERRNO)
@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            "10.96.0.99:80",
            f"{REFUSED_BY_HOOK}empty {NOBODY} on this node: internalTrafficPolicy is Local, endpoints are on w2",
        ),
        (
            "10.96.0.98:80/udp",
            f"{REFUSED_BY_HOOK}starting has no ready endpoint: of 3 endpoints none is ready",
        ),
        ("10.96.0.97:80", f"{REFUSED_BY_HOOK}alone has no ready endpoint: it has no EndpointSlice"),
        (
            f"[{SERVICE6}]:80",
            f"{REFUSED_BY_HOOK}web {NOBODY}: none of its EndpointSlices has addressType IPv6, {SO}",
        ),
        (
            f"{SERVICE4}:81",
            f"ECONNREFUSED: {SERVICE4} is a Service's, which has no port 81/TCP (Service default/web)",
        ),
        (
            f"{SERVICE4}:80",
            f"connect4 leads it to {BACKENDS4[0]}:8080, {BACKENDS4[1]}:8080, at random: Service default/web",
        ),
        (
            f"{OTHER_NODE4}:31080",
            f"It goes to {OTHER_NODE4}:31080/TCP as it is: {ELSEWHERE} (Service default/empty)",
        ),
        ("192.0.2.1:443", "It goes to 192.0.2.1:443/TCP as it is: 192.0.2.1 is no address of a Service or a node"),
        (
            f"{SERVICE4}:80/sctp",
            f"It goes to {SERVICE4}:80/SCTP as it is: no socket hook serves this protocol (Service default/web)",
        ),
    ],
)
def test_the_last_line_gives_verdict_and_reason(
    serving_agent: AgentUnderTest, sandbox: Sandbox, asked: str, sentence: str
) -> None:
    shown = serving_agent.run("explain", asked, *from_below(sandbox))
    assert shown.stdout.splitlines()[-1] == sentence, shown.stderr


def test_without_an_agent_names_are_known_and_reasons_are_not(serving_agent: AgentUnderTest, sandbox: Sandbox) -> None:
    names = serving_agent.socket.parent / "services.json"
    serving_agent.until(lambda _: names.exists())
    serving_agent.stop()
    shown = serving_agent.run("explain", "10.96.0.99:80", *from_below(sandbox)).stdout.splitlines()
    assert "Service default/empty has no ready endpoint: no agent answers that could say why" in shown[-2]
    assert shown[-1].startswith("No agent runs: whether the API wants it so is not known")


def test_tables_that_are_not_as_the_api_wants_them_are_told(serving_agent: AgentUnderTest, sandbox: Sandbox) -> None:
    """Somebody else wrote there."""
    asked, below = f"{SERVICE4}:80", from_below(sandbox)
    assert explained(serving_agent, asked, *below)["differences"] == []
    meddle(serving_agent, Backend(pack_address(BACKENDS4[0]), PORT), Backend(pack_address("10.244.1.77"), PORT))
    found = explained(serving_agent, asked, *below)
    assert "10.244.1.77:8080" in found["backends"]
    assert found["differences"] == [
        f"the tables lack backends: {BACKENDS4[0]}:8080",
        "the tables have backends that the API does not want: 10.244.1.77:8080",
    ]


def meddle(agent: AgentUnderTest, old: Backend, new: Backend) -> None:
    """Put another backend in the place of one, in the kernel."""
    maps = Pins(agent.bpffs).maps
    with closing(RowTable(maps, "backends", layout.BACKEND_ROW.size)) as rows:
        packed = layout.pack_backends((old,))
        places = [row for row in range(1000) if rows.read(row) == packed]
        assert places
        for row in places:
            rows.write(row, layout.pack_backends((new,)))


def test_who_asks_may_be_named(serving_agent: AgentUnderTest, sandbox: Sandbox) -> None:
    with running_below(sandbox) as pid:
        found = explained(serving_agent, f"{SERVICE4}:80", "--from", str(pid))
        assert found["from"].startswith(f"process {pid} (")
        assert found["verdict"] == "translated"
    itself = explained(serving_agent, f"{SERVICE4}:80")
    assert itself["from"] == "this command outside the node's cgroup"
    assert itself["why"] == "no hook runs for it: it is outside the node's cgroup"
    outside = explained(serving_agent, f"{SERVICE4}:80", "--from", "outside")
    assert outside["from"] == "a client outside the cluster"
    assert outside["why"] == "socklb serves no packets in eBPF on this node"


@pytest.mark.parametrize("who", ["shop/nobody", "/nowhere", "99999999"])
def test_nobody_is_an_error(serving_agent: AgentUnderTest, who: str) -> None:
    failed = serving_agent.run("explain", f"{SERVICE4}:80", "--from", who)
    assert failed.returncode == 1
    assert f"({who!r}); valid: a pod's [NAMESPACE/]NAME or UID" in failed.stderr


def test_a_pod_is_known_by_its_uid(serving_agent: AgentUnderTest, sandbox: Sandbox) -> None:
    pod = Pod(sandbox.cgroup, 7, lambda: None)
    try:
        pod.result()
        found = explained(serving_agent, f"{SERVICE4}:80", "--from", pod.uid)
        assert found["from"].endswith(f"in cgroup /{pod.cgroup.relative_to(sandbox.cgroup)}")
        assert found["verdict"] == "translated"
    finally:
        pod.remove()


def test_pods_sockets_that_are_left_alone(agent: AgentUnderTest, sandbox: Sandbox) -> None:
    with agent.config.open("a") as config:
        config.write("pod_sockets = false\n")
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", BACKENDS4[0]))
    agent.start()
    with running_below(sandbox):  # in a network that is not the agent's
        found = explained(agent, f"{SERVICE4}:80", *from_below(sandbox))
    assert found["why"] == "pod_sockets is false: a pod's sockets are left to the packet path"
    assert {"at": "connect4", "table": "kernel_facts"}.items() <= found["steps"][1].items()
