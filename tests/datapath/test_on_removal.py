"""`socklb.io/on-removal: reset`: TCP connections to endpoints that are gone are reset, and no others."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, Job, Sandbox, running
from socklb.datapath.pins import Pins
from tests.datapath.services import SERVICE4, SERVICE6
from tests.datapath.test_following import wait_for

OLD4, NEW4 = BACKENDS4[:2]
OLD6, NEW6 = BACKENDS6[:2]
OTHER4 = "10.96.0.11"
HOLDING = 8081  # where connections last
WAIT = 20.0
STAYS = "stays"


@pytest.fixture(scope="module", autouse=True)
def holding(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers that keep connections."""
    ready = tmp_path_factory.mktemp("holding")

    def serve() -> None:
        import select

        listening = [socket.create_server((a, HOLDING), family=socket.AF_INET) for a in (OLD4, NEW4)]
        listening += [socket.create_server((a, HOLDING), family=socket.AF_INET6) for a in (OLD6, NEW6)]
        kept: list[socket.socket] = []
        (ready / "ready").touch()
        while True:
            kept += [one.accept()[0] for one in select.select(listening, [], [])[0]]

    with running(sandbox, serve):
        wait_for(ready, "ready")
        yield


def slice_of(name: str, *addresses: str, generation: int = 1, **conditions: bool) -> dict[str, Any]:
    found = endpoint_slice(name, *addresses, generation=generation)
    found["addressType"] = "IPv6" if name.endswith("6") else "IPv4"
    found["ports"] = [{"name": "tcp", "port": HOLDING, "protocol": "TCP"}]
    for endpoint in found["endpoints"]:
        endpoint["conditions"] |= conditions
    return found


def annotated(name: str, *ips: str, value: str = "reset", **more: Any) -> dict[str, Any]:
    found = service(name, *ips, **more)
    found["metadata"]["annotations"] = {"socklb.io/on-removal": value}
    return found


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("web.yaml", node("w1", NODE4), annotated("web", SERVICE4, SERVICE6, node_port=30080))
    agent.write("web-4.yaml", slice_of("web-4", OLD4))
    agent.write("web-6.yaml", slice_of("web-6", OLD6))
    agent.write("plain.yaml", service("plain", OTHER4), slice_of("plain-4", OLD4))
    agent.start()
    return agent


def exchange(agent: AgentUnderTest) -> None:
    """Have other endpoints, in both families and in the Service that asks for nothing."""
    agent.write("web-4.yaml", slice_of("web-4", NEW4, generation=2))
    agent.write("web-6.yaml", slice_of("web-6", NEW6, generation=2))
    agent.write("plain.yaml", service("plain", OTHER4), slice_of("plain-4", NEW4, generation=2))


def reset(agent: AgentUnderTest, **kinds: int) -> None:
    agent.until(lambda status: {kind: status["reset"][kind] for kind in kinds} == kinds)


def client(asked: str, port: int = 80, family: int = 0, protocol: int = 0) -> socket.socket:
    family = family or (socket.AF_INET6 if ":" in asked else socket.AF_INET)
    found = socket.socket(family, socket.SOCK_STREAM, protocol)
    found.settimeout(WAIT)
    found.connect((f"::ffff:{asked}" if family == socket.AF_INET6 and ":" not in asked else asked, port))
    return found


def told(one: socket.socket) -> str:
    """Return what the next recv() says; nothing is ever sent."""
    one.settimeout(0.2)
    try:
        return one.recv(1).hex()
    except TimeoutError:
        return STAYS
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def asked(sandbox: Sandbox, home: Path, opened: Callable[[], list[socket.socket]]) -> Job:
    """Have connections, and ask what became of them once somebody says so."""

    def ask() -> list[str]:
        clients = opened()
        (home / "asked").touch()
        wait_for(home, "changed")
        return [told(one) for one in clients]

    job = sandbox.start(ask)
    wait_for(home, "asked")
    return job


def result(agent: AgentUnderTest, job: Job) -> object:
    (agent.home / "changed").touch()
    return job.result()


def test_whoever_has_an_endpoint_that_is_gone_is_reset_and_nobody_else(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    """Also sockets that are at the same address by themselves, or by a Service that does not ask for it."""

    def opened() -> list[socket.socket]:
        led = [client(SERVICE4), client(SERVICE6), client(SERVICE4, family=socket.AF_INET6), client(NODE4, 30080)]
        return [*led, client(OLD4, HOLDING), client(OTHER4), client(NEW4, HOLDING)]

    job = asked(sandbox, serving.home, opened)
    exchange(serving)
    reset(serving, socket=4, left=0)
    assert result(serving, job) == ["ECONNABORTED"] * 4 + [STAYS] * 3


def test_who_waits_for_an_answer_is_told_at_once(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    def ask() -> str:
        waiting = client(SERVICE4)
        (serving.home / "asked").touch()
        try:
            return waiting.recv(1).hex()
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    job = sandbox.start(ask)
    wait_for(serving, "asked")
    exchange(serving)
    assert job.result() == "ECONNABORTED"


@pytest.mark.parametrize(
    "condition",
    [{"ready": False, "serving": True, "terminating": True}, {"ready": False}],
    ids=["terminating", "not ready"],
)
def test_an_endpoint_that_is_still_there_keeps_its_connections(
    sandbox: Sandbox, serving: AgentUnderTest, condition: dict[str, bool]
) -> None:
    """Until it is gone: then they are reset, which is the control."""
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4), client(SERVICE6)])
    slice_ = slice_of("web-4", OLD4, NEW4, generation=2)
    slice_["endpoints"][0]["conditions"] = condition
    serving.write("web-4.yaml", slice_)
    serving.applied("EndpointSlice/default/web-4", 2)
    serving.write("web-6.yaml", slice_of("web-6", NEW6, generation=2))
    reset(serving, socket=1)
    serving.write("web-4.yaml", slice_of("web-4", NEW4, generation=3))
    reset(serving, socket=2, left=0)
    assert result(serving, job) == ["ECONNABORTED"] * 2


def test_a_service_without_any_endpoint_resets_too(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4), client(SERVICE6)])
    serving.write("web-4.yaml", slice_of("web-4", generation=2))
    reset(serving, socket=1)
    assert result(serving, job) == ["ECONNABORTED", STAYS]


def test_what_went_while_no_agent_ran_is_found_at_the_start(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4), client(OTHER4)])
    serving.kill()
    exchange(serving)
    serving.start()
    reset(serving, socket=1)
    assert result(serving, job) == ["ECONNABORTED", STAYS]


def test_a_service_may_ask_for_it_later(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4), client(OTHER4)])
    exchange(serving)
    reset(serving, socket=1)
    serving.write("plain.yaml", annotated("plain", OTHER4), slice_of("plain-4", NEW4, generation=2))
    reset(serving, socket=2)
    assert result(serving, job) == ["ECONNABORTED"] * 2


def test_another_value_is_told_and_leaves_connections_alone(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.write("plain.yaml", annotated("plain", OTHER4, value="rst"), slice_of("plain-4", OLD4))
    told = {
        "field": "metadata.annotations[socklb.io/on-removal]",
        "message": "not known, so connections to endpoints that are gone are left alone ('rst'); valid: reset",
    }
    serving.until(lambda status: any(told.items() <= problem.items() for problem in status["problems"]))
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4), client(OTHER4)])
    serving.write("web-4.yaml", slice_of("web-4", NEW4, generation=2))
    serving.write("plain.yaml", annotated("plain", OTHER4, value="rst"), slice_of("plain-4", NEW4, generation=2))
    reset(serving, socket=1)
    assert result(serving, job) == ["ECONNABORTED", STAYS]


def test_sockets_in_networks_that_may_not_be_entered_are_reset_too(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """As in a pod without CAP_SYS_ADMIN: the agent has the sockets' descriptors."""
    serving.stop()
    serving.around = ["setpriv", "--bounding-set=-sys_admin"]
    serving.start()
    job = asked(
        sandbox, serving.home, lambda: [client(SERVICE4), client(SERVICE6), client(OTHER4), client(OLD4, HOLDING)]
    )
    exchange(serving)
    reset(serving, socket=2, left=0)
    assert result(serving, job) == ["ECONNRESET"] * 2 + [STAYS] * 2


def test_mptcp_sockets_are_reset_too(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    if Path("/proc/sys/net/mptcp/enabled").read_text().strip() != "1":
        pytest.skip("MPTCP is not enabled")
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4, protocol=262), client(OTHER4, protocol=262)])
    exchange(serving)
    reset(serving, socket=1, left=0)
    assert result(serving, job) == ["ENOTCONN", STAYS]


def test_a_socket_that_may_not_be_had_is_told_of(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.stop()
    serving.around = ["setpriv", "--bounding-set=-sys_ptrace"]
    serving.start()
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4, protocol=262), client(SERVICE4)])
    exchange(serving)
    reset(serving, socket=1, left=1)
    assert result(serving, job) == [STAYS, "ECONNABORTED"]


def test_records_that_have_no_slot_count_too(
    sandbox: Sandbox, serving: AgentUnderTest, build: Callable[..., Path]
) -> None:
    serving.stop()
    Pins(serving.bpffs).remove()
    serving.configure(objects=str(build("-DSOCKET_SLOTS=4")))
    serving.start()
    job = asked(sandbox, serving.home, lambda: [client(SERVICE4) for _ in range(20)] + [client(OTHER4)])
    exchange(serving)
    reset(serving, socket=20, left=0)
    assert result(serving, job) == ["ECONNABORTED"] * 20 + [STAYS]
