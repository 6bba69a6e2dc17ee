"""`socklb socket list`: every live socket that was given a backend, and no other."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, PORT, Sandbox, ask_udp, udp_client
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Backend, Difference, endpoint_text, pack_address
from socklb.sockets.listing import Found, listing
from tests.datapath.pods import Pod
from tests.datapath.services import frontend, serving

Truth = tuple[int, str, str]  # cookie, what was asked, who was given
SO_COOKIE, IPPROTO_MPTCP = 57, 262
VIPS = [f"10.96.1.{n}" for n in range(1, 9)] + [f"fd00:10:96::1:{n}" for n in range(1, 9)]
GIVEN = dict(zip(VIPS, (*BACKENDS4, *BACKENDS6), strict=True))  # one backend a Service: the asked tell the given


def cookie(client: socket.socket) -> int:
    return int(struct.unpack("=Q", client.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


def opened(vip: str, kind: int, family: int = 0, protocol: int = 0) -> socket.socket:
    client = socket.socket(family or (socket.AF_INET6 if ":" in vip else socket.AF_INET), kind, protocol)
    client.connect((vip if not family else f"::ffff:{vip}", 80))
    return client


def truth(client: socket.socket, vip: str) -> Truth:
    return (
        cookie(client),
        endpoint_text(Backend(pack_address(vip), 80)),
        endpoint_text(Backend(pack_address(GIVEN[vip]), PORT)),
    )


def told(found: list[Found]) -> list[Truth]:
    return [(one.live.cookie, endpoint_text(one.record.asked), endpoint_text(one.record.given)) for one in found]


@pytest.fixture
def services(datapath: NodeDatapath) -> NodeDatapath:
    apply_services(datapath)
    return datapath


def apply_services(node: NodeDatapath) -> None:
    protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
    put = {frontend(vip, protocol): serving(GIVEN[vip]) for vip in VIPS for protocol in protocols}
    node.tables.apply(Difference(put=put))


def seen(sandbox: Sandbox, datapath: NodeDatapath, sockets: Callable[[], list[tuple[socket.socket, str]]]) -> None:
    """Open sockets in the sandbox and list them from there, while they live and when they are closed."""

    def look() -> tuple[list[Truth], list[Truth], list[Truth], set[int]]:
        clients = sockets()
        found = listing(datapath.pins.maps, sandbox.cgroup)
        expected = [truth(client, vip) for client, vip in clients if vip]
        for client, _ in clients:
            client.close()
        after = told(listing(datapath.pins.maps, sandbox.cgroup))
        return expected, told(found), after, {holder.pid for one in found for holder in one.holders} - {os.getpid()}

    expected, found, after, others = sandbox.run(look)
    assert sorted(found) == sorted(expected)
    assert after == []
    assert not others


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_connected_sockets_of_both_families(sandbox: Sandbox, services: NodeDatapath, kind: int) -> None:
    seen(sandbox, services, lambda: [(opened(vip, kind), vip) for vip in VIPS])


def test_an_ipv4_service_asked_for_from_an_ipv6_socket(sandbox: Sandbox, services: NodeDatapath) -> None:
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    seen(sandbox, services, lambda: [(opened(VIPS[0], kind, socket.AF_INET6), VIPS[0]) for kind in kinds])


def test_an_unconnected_socket_once_for_each_service(sandbox: Sandbox, services: NodeDatapath) -> None:
    def sockets() -> list[tuple[socket.socket, str]]:
        client = udp_client(VIPS[0])
        for vip in VIPS[:3]:
            ask_udp(client, vip, 80)
        return [(client, vip) for vip in VIPS[:3]]

    seen(sandbox, services, sockets)


def test_one_that_goes_past_all_services_is_none(sandbox: Sandbox, services: NodeDatapath) -> None:
    def sockets() -> list[tuple[socket.socket, str]]:
        straight, turned = udp_client(BACKENDS4[0]), opened(VIPS[0], socket.SOCK_DGRAM)
        straight.connect((BACKENDS4[0], PORT))
        turned.connect((BACKENDS4[0], PORT))
        return [(straight, ""), (turned, "")]

    seen(sandbox, services, sockets)


def test_one_without_a_port_is_found_by_its_descriptor(sandbox: Sandbox, services: NodeDatapath) -> None:
    """The kernel does not list it: it was refused, reset, or disconnected."""

    def sockets() -> list[tuple[socket.socket, str]]:
        ended = opened(VIPS[0], socket.SOCK_STREAM)
        dissolved = opened(VIPS[1], socket.SOCK_DGRAM)
        for client in (ended, dissolved):
            disconnect(client)
        return [(ended, VIPS[0]), (dissolved, VIPS[1])]

    seen(sandbox, services, sockets)


def disconnect(client: socket.socket) -> None:
    import ctypes as ct

    unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
    if ct.CDLL(None, use_errno=True).connect(client.fileno(), unspecified, len(unspecified)):
        raise OSError(ct.get_errno(), "connect(AF_UNSPEC)")


def test_one_of_mptcp_is_what_the_application_has(sandbox: Sandbox, services: NodeDatapath) -> None:
    seen(sandbox, services, lambda: [(opened(VIPS[0], socket.SOCK_STREAM, protocol=IPPROTO_MPTCP), VIPS[0])])


def test_a_slot_whose_socket_is_gone_is_no_row(sandbox: Sandbox, services: NodeDatapath) -> None:
    """As after a time without the hook that gives slots back."""
    hook = services.pins.links / "sock_release"

    def leave_one_behind() -> tuple[int, list[Truth]]:
        from socklb.sockets.records import Records

        client = opened(VIPS[0], socket.SOCK_DGRAM)
        detach(hook)
        client.close()
        with closing(Records(services.pins.maps)) as records:
            return len(records.slots()), told(listing(services.pins.maps, sandbox.cgroup))

    slots, found = sandbox.run(leave_one_behind)
    assert slots == 1, "the slot was given back: this test proves nothing"
    assert found == []


def detach(hook: Path) -> None:
    from socklb.datapath.links import detach_pinned

    detach_pinned(hook)


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [(socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, IPPROTO_MPTCP)],
    ids=["TCP", "UDP", "MPTCP"],
)
def test_more_sockets_than_slots(
    sandbox: Sandbox, bpffs: Path, build: Callable[..., Path], kind: int, protocol: int
) -> None:
    with NodeDatapath(bpffs, sandbox.cgroup, build("-DSOCKET_SLOTS=2")) as small:
        small.attach()
        apply_services(small)
        seen(sandbox, small, lambda: [(opened(vip, kind, protocol=protocol), vip) for vip in VIPS])
    small.pins.remove()


def test_twenty_thousand_sockets_in_fifty_pods(sandbox: Sandbox, services: NodeDatapath) -> None:
    """Half of them closed again, while another process opens and closes without a pause."""

    def open_and_close() -> list[Truth]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        chance = random.Random(os.getpid())
        kinds = itertools.cycle((socket.SOCK_STREAM, socket.SOCK_DGRAM))
        clients = [(opened(vip, next(kinds)), vip) for vip in itertools.islice(itertools.cycle(VIPS[:-1]), 400)]
        chance.shuffle(clients)
        for client, _ in clients[200:]:
            client.close()
        truths = [truth(client, vip) for client, vip in clients[:200]]
        for client, _ in clients[:200]:
            client.detach()
        return truths

    def churn() -> None:
        while True:
            opened(VIPS[0], socket.SOCK_DGRAM).close()

    churning = sandbox.start(churn)
    pods = [Pod(sandbox.cgroup, n, open_and_close) for n in range(1, 51)]
    try:
        expected = {pod.uid: pod.result() for pod in pods}
        found = listing(services.pins.maps, sandbox.cgroup)
    finally:
        churning.kill()
        for pod in pods:
            pod.remove()
    by_pod = {pod.uid: sorted(told([one for one in found if one.pod.uid == pod.uid])) for pod in pods}

    assert by_pod == {uid: sorted(truths) for uid, truths in expected.items()}
    others = [one for one in found if not one.pod.uid]
    assert {one.pod.cgroup for one in others} <= {"/"}
    assert {(holder.pid, one.pod.container) for one in found if one.pod.uid for holder in one.holders} == {
        (pod.pid, pod.container) for pod in pods
    }
    assert len({one.live.network for one in found if one.pod.uid}) == len(pods)


@pytest.fixture
def asking(agent: AgentUnderTest, sandbox: Sandbox) -> Iterator[tuple[AgentUnderTest, Pod]]:
    """A pod that asks two Services, one of two backends by TCP and UDP and one of a single backend."""
    agent.write("node.yaml", node("w1", NODE4))
    agent.write("web.yaml", service("web", VIPS[0]), endpoint_slice("web-4", BACKENDS4[0]))
    agent.write("dns.yaml", service("dns", VIPS[1], node_port=30053), endpoint_slice("dns-4", BACKENDS4[1]))
    agent.start()
    agent.until(lambda status: status["applied"]["count"] == 5)

    def ask() -> None:
        for vip, kind in ((VIPS[0], socket.SOCK_STREAM), (VIPS[0], socket.SOCK_DGRAM), (VIPS[1], socket.SOCK_DGRAM)):
            opened(vip, kind).detach()
        client = udp_client(NODE4)
        client.connect(("127.0.0.1", 9))
        client.connect((NODE4, 30053))
        client.detach()

    pod = Pod(sandbox.cgroup, 1, ask)
    try:
        pod.result()
        yield agent, pod
    finally:
        pod.remove()


def rows(agent: AgentUnderTest, *filters: str) -> list[dict[str, Any]]:
    shown = agent.run("socket", "list", "--json", *filters)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def brief(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return sorted((row["protocol"], row["service"], row["asked"], row["backend"], row["state"]) for row in found)


WEB_TCP = ("TCP", "default/web", f"{VIPS[0]}:80", f"{BACKENDS4[0]}:8080")
WEB_UDP = ("UDP", *WEB_TCP[1:])
DNS = ("UDP", "default/dns", f"{VIPS[1]}:80", f"{BACKENDS4[1]}:8080")
NODE_PORT = (*DNS[:2], f"{NODE4}:30053", DNS[3])


def test_a_row_names_service_backend_pod_and_process(asking: tuple[AgentUnderTest, Pod]) -> None:
    agent, pod = asking
    found = rows(agent)
    assert brief(found) == sorted((*row, "ready") for row in (WEB_TCP, WEB_UDP, DNS, NODE_PORT))
    for row in found:
        assert row["pod_uid"] == pod.uid
        assert row["container"] == pod.container
        assert row["cgroup"] == f"/{pod.slice.name}/{pod.cgroup.name}"
        assert row["network_id"] == Path(f"/proc/{pod.pid}/ns/net").stat().st_ino
        assert row["processes"] == [{"pid": pod.pid, "command": Path(f"/proc/{pod.pid}/comm").read_text().strip()}]
    shown = agent.run("socket", "list").stdout.splitlines()
    assert len(shown) == 5
    assert shown[0].split() == ["PROTOCOL", "SERVICE", "ASKED", "BACKEND", "STATE", "POD", "NETWORK", "PROCESS"]
    assert f"{pod.pid}/" in shown[1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--service", "web"], [WEB_TCP, WEB_UDP]),
        (["--service", "default/dns"], [DNS, NODE_PORT]),
        (["--service", "other/dns"], []),
        (["--backend", BACKENDS4[1]], [DNS, NODE_PORT]),
        (["--backend", f"{BACKENDS4[0]}:8080"], [WEB_TCP, WEB_UDP]),
        (["--backend", f"{BACKENDS4[0]}:80"], []),
        (["--pod", "00000000-0000-4000-8000-000000000001", "--service", "web"], [WEB_TCP, WEB_UDP]),
        (["--pod", "another"], []),
        (["--gone"], []),
    ],
)
def test_filters_choose(
    asking: tuple[AgentUnderTest, Pod], filters: list[str], expected: list[tuple[str, ...]]
) -> None:
    assert brief(rows(asking[0], *filters)) == sorted((*row, "ready") for row in expected)


def test_what_has_become_of_a_backend(asking: tuple[AgentUnderTest, Pod]) -> None:
    """TCP stays with a backend that leaves, as with any kube-proxy."""
    agent, _ = asking
    slice_ = endpoint_slice("web-4", BACKENDS4[0], BACKENDS4[2])

    def with_conditions(generation: int, **conditions: bool) -> list[tuple[str, ...]]:
        slice_["metadata"]["generation"] = generation
        slice_["endpoints"][0]["conditions"] = conditions
        agent.write("web.yaml", service("web", VIPS[0]), slice_)
        agent.applied("EndpointSlice/default/web-4", generation)
        return brief([row for row in rows(agent, "--service", "web") if row["protocol"] == "TCP"])

    assert with_conditions(2, ready=False) == [(*WEB_TCP, "not ready")]
    assert with_conditions(3, ready=False, serving=True, terminating=True) == [(*WEB_TCP, "terminating")]
    del slice_["endpoints"][0]
    assert with_conditions(4, ready=True) == [(*WEB_TCP, "gone")]
    assert brief([row for row in rows(agent, "--gone") if row["protocol"] == "TCP"]) == [(*WEB_TCP, "gone")]
    agent.stop()
    shown = agent.run("socket", "list", "--json", "--gone")
    assert (*WEB_TCP, "gone") in brief(json.loads(shown.stdout))
    assert "no agent answers" in shown.stderr
