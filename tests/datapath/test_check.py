"""`socklb check`: whatever does not work is found, with the next command; what works is not disturbed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, Sandbox
from socklb.check import node as tried
from socklb.datapath import dump
from socklb.datapath.features import SET_ERRNO
from socklb.datapath.links import HOOKS
from socklb.datapath.pins import Pins
from socklb.model import Frontend
from tests.datapath.meddling import detach
from tests.datapath.services import SERVICE4, SERVICE6

EMPTY4, DNS4 = "10.96.0.11", "10.96.0.12"
OTHER_NODE = BACKENDS4[7]
Verdicts = dict[str, set[str]]


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    agent.write("nodes.yaml", node("w1", NODE4), node("w2", OTHER_NODE))
    web = service("web", SERVICE4, SERVICE6, node_port=30080)
    agent.write("web.yaml", web, endpoint_slice("web-4", *BACKENDS4[:3]), endpoint_slice("web-6", BACKENDS6[0]))
    agent.write("empty.yaml", service("empty", EMPTY4))
    agent.start()
    agent.until(lambda status: status["connect"]["translated"])
    return agent


def check(
    sandbox: Sandbox, agent: AgentUnderTest, *flags: str, hooked: bool = True
) -> tuple[int, list[dict[str, str]]]:
    """Run it in the sandbox, and give its exit code and what it found."""
    command = agent.command("check", "--json", *flags)
    done = sandbox.run(lambda: subprocess.run(command, capture_output=True, text=True, check=False), hooked=hooked)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def verdicts(found: list[dict[str, str]]) -> Verdicts:
    kinds = {row["check"]: {one["verdict"] for one in found if one["check"] == row["check"]} for row in found}
    return {kind: verdict for kind, verdict in kinds.items() if kind not in {"DNS", "packet path", "from outside"}}


FROM_THE_NODE = {"from the node", "NodePort here", "NodePort elsewhere"}
WORKS = {"hooks", "agent", "own connect", "from a pod", "refusal", "getpeername", *FROM_THE_NODE}


@pytest.mark.needs(SET_ERRNO)
def test_all_that_works_passes(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    code, found = check(sandbox, serving)
    assert code == 0, found
    assert verdicts(found) == {kind: {"passed"} for kind in WORKS}
    asked = {f"{address}:80/{protocol}" for protocol in ("TCP", "UDP") for address in (f"[{SERVICE6}]", SERVICE4)}
    assert {row["subject"] for row in found if row["check"] == "from a pod"} == {f"default/web {one}" for one in asked}
    assert [row["subject"] for row in found if row["check"] == "NodePort elsewhere"] == [
        f"default/web {OTHER_NODE}:30080/TCP"
    ]
    assert {"default/empty 10.96.0.11:80/TCP", "default/empty 10.96.0.11:80/UDP"} <= {
        row["subject"] for row in found if row["check"] == "refusal"
    }


def test_an_agent_whose_source_is_away_fails_though_it_serves(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.manifests.rename(serving.home / "away")
    serving.until(lambda status: status["source"]["lost_since"] is not None)
    code, found = check(sandbox, serving)
    (failed,) = [row for row in found if row["verdict"] == "failed"]
    assert (code, failed["check"]) == (5, "agent")
    assert f"folder {serving.manifests} is out of reach: cannot be read: No such file" in failed["seen"]


def without(agent: AgentUnderTest, *hooks: str) -> None:
    agent.kill(signal.SIGKILL)  # it would put them back
    for name in hooks:
        detach(Pins(agent.bpffs).links / name)


DAMAGE: dict[str, tuple[Callable[[AgentUnderTest], object], set[str], str]] = {
    "every hook is detached": (
        lambda agent: without(agent, *HOOKS),
        {"hooks", "from a pod", "refusal", *FROM_THE_NODE},
        "not effective: sock_release",
    ),
    "getpeername alone is detached": (
        lambda agent: without(agent, "getpeername4", "getpeername6"),
        {"hooks", "from a pod", "getpeername"},
        "getpeername() gives",
    ),
    "connect4 alone is detached": (
        lambda agent: without(agent, "connect4"),
        {"hooks", "from a pod", "refusal", *FROM_THE_NODE},
        "not effective: connect4",
    ),
}


@pytest.mark.needs(SET_ERRNO)
@pytest.mark.parametrize(("damage", "fails", "text"), DAMAGE.values(), ids=DAMAGE)
def test_what_does_not_work_is_found(
    sandbox: Sandbox, serving: AgentUnderTest, damage: Callable[[AgentUnderTest], object], fails: set[str], text: str
) -> None:
    damage(serving)
    code, found = check(sandbox, serving)
    failed = [row for row in found if row["verdict"] == "failed"]
    assert code == 5
    assert {row["check"] for row in failed} - {"agent"} == fails
    assert any(text in row["seen"] for row in failed)
    assert all(row["next"] for row in failed)


@pytest.mark.needs(SET_ERRNO)
def test_it_is_satisfied_with_the_capabilities_of_the_daemonset(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """CAP_SYS_ADMIN is not among them, without which no network namespace can be made but below a user namespace."""
    some = "-all,+bpf,+perfmon,+net_admin,+net_bind_service,+sys_ptrace"
    command = ["setpriv", f"--bounding-set={some}", *serving.command("check", "--json")]
    done = sandbox.run(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    assert (done.returncode, done.stderr) == (0, "")
    assert verdicts(json.loads(done.stdout)) == {kind: {"passed"} for kind in WORKS}


def test_a_server_that_is_not_there_is_told_from_hooks_that_do_not_work(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    nobody = "10.244.9.9"
    serving.write("gone.yaml", service("gone", "10.96.0.13"), endpoint_slice("gone-4", nobody))
    serving.applied("EndpointSlice/default/gone-4", 1)
    code, found = check(sandbox, serving)
    (row,) = [row for row in found if row["verdict"] == "failed"]
    assert code == 5
    assert (row["check"], row["subject"]) == ("from the node", "default/gone 10.96.0.13:80/TCP")
    assert row["seen"].endswith(f", led to {nobody}:8080")
    assert row["next"] == "socklb explain 10.96.0.13:80"
    assert {"check": "from a pod", "subject": row["subject"], "verdict": "passed"}.items() <= next(
        one for one in found if one["check"] == "from a pod" and one["subject"] == row["subject"]
    ).items()


def test_a_dns_server_that_answers_something_else(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    dns = service("kube-dns", DNS4)
    dns["spec"]["ports"] = [{"name": "udp", "port": 53, "targetPort": 8080, "protocol": "UDP"}]
    serving.write("dns.yaml", dns, endpoint_slice("kube-dns-4", BACKENDS4[0]))
    serving.applied("EndpointSlice/default/kube-dns-4", 1)
    _, found = check(sandbox, serving)
    (row,) = [row for row in found if row["check"] == "DNS"]
    assert (row["verdict"], row["seen"]) == ("failed", "what came is no answer to the question")
    assert row["next"] == f"socklb explain {DNS4}:53/udp"


def test_without_an_agent_the_rest_is_tried(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.kill()
    code, found = check(sandbox, serving)
    assert code == 5
    assert [(row["check"], row["next"]) for row in found if row["verdict"] == "failed"] == [("agent", "socklb agent")]


def test_a_command_that_no_hook_sees_says_so(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    code, found = check(sandbox, serving, hooked=False)
    (row,) = [row for row in found if row["verdict"] == "failed"]
    assert (code, row["check"], row["subject"]) == (5, "hooks", "this command")
    assert f"it runs outside {serving.cgroup}" in row["seen"]


def test_pods_that_are_left_alone_are_not_asked_for(sandbox: Sandbox, agent: AgentUnderTest) -> None:
    agent.config.write_text(agent.config.read_text() + "pod_sockets = false\n")
    agent.write("web.yaml", node("w1", NODE4), service("web", SERVICE4), endpoint_slice("web-4", BACKENDS4[0]))
    agent.start()
    _, found = check(sandbox, agent)
    (row,) = [row for row in found if row["check"] == "from a pod"]
    assert (row["verdict"], row["seen"]) == ("skipped", "pod_sockets is false: packets serve pods")


def test_what_people_and_machines_are_shown(sandbox: Sandbox, serving: AgentUnderTest, tmp_path: Path) -> None:
    serving.write("gone.yaml", service("gone", "10.96.0.13"), endpoint_slice("gone-4", "10.244.9.9"))
    serving.applied("EndpointSlice/default/gone-4", 1)
    junit = tmp_path / "check.xml"
    command = serving.command("check", "--junit", str(junit))
    done = sandbox.run(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (5, "")
    assert lines[0].split() == ["CHECK", "VERDICT", "AT", "SEEN", "NEXT"]
    assert sum(line.startswith("from a pod") and "6 of them" in line for line in lines) == 1
    assert [line.split()[3] for line in lines if line.startswith("from the node")] == ["passed", "FAILED"]
    assert any("FAILED" in line and line.endswith("socklb explain 10.96.0.13:80") for line in lines)
    suite = ET.parse(junit).getroot()[0]
    (failure,) = suite.iter("failure")
    assert (suite.get("name"), suite.get("failures")) == ("socklb check w1", "1")
    assert failure.text == "next: socklb explain 10.96.0.13:80"
    assert len(suite) == int(suite.get("tests") or 0) > 10


def test_nothing_is_left_and_no_server_is_told_a_word(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    maps, port = Pins(serving.bpffs).maps, 9090
    silent = service("silent", "10.96.0.14")
    silent["spec"]["ports"] = [{"name": "tcp", "port": 80, "targetPort": port, "protocol": "TCP"}]
    slice_ = endpoint_slice("silent-4", BACKENDS4[0])
    slice_["ports"] = [{"name": "tcp", "port": port, "protocol": "TCP"}]
    serving.write("silent.yaml", silent, slice_)
    serving.applied("EndpointSlice/default/silent-4", 1)

    def left() -> tuple[list[int], list[str]]:
        fills = dump.fill(maps, dump.read_frontends(maps))
        return [fill.used for fill in fills], sorted(path.name for path in serving.cgroup.iterdir())

    def hear() -> list[bytes]:
        with socket.create_server((BACKENDS4[0], port)) as server:
            server.settimeout(10)
            client, _ = server.accept()
            with client:
                client.settimeout(10)
                heard = [client.recv(100)]
            server.settimeout(1)
            with contextlib.suppress(TimeoutError):
                server.accept()
                heard.append(b"again")
            return heard

    before, listening = left(), sandbox.start(hear, hooked=False)
    sandbox.run(lambda: wait_for(port), hooked=False)
    assert check(sandbox, serving)[0] == 0
    assert listening.result() == [b""]
    assert left() == before


def wait_for(port: int) -> None:
    """Wait until somebody listens, without a connection."""
    for _ in range(500):
        if f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text():
            return
        time.sleep(0.01)
    raise TimeoutError


def test_of_many_some_are_asked_spread_evenly() -> None:
    many = [Frontend(bytes(16), port, 6) for port in range(100)]
    assert [one.port for one in tried.some(many, 4)] == [0, 25, 50, 75]
    assert tried.some(many[:3], 4) == many[:3]
    (row,) = tried.others("from a pod", many, 4)
    assert (row.subject, row.verdict) == ("96 other frontends", "skipped")
    assert list(tried.others("from a pod", many[:4], 4)) == []
