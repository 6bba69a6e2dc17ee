"""The agent as a process: manifests in, connections right, whatever happens to it or to its files."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, Sandbox, ask_tcp
from socklb import control_socket
from socklb.datapath import dump
from socklb.datapath.maps import TrieTable
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from tests.datapath.load import Seen, load
from tests.datapath.services import SERVICE4, SERVICE6

WEB = service("web", SERVICE4, SERVICE6, node_port=32000)
WEB4 = endpoint_slice("web-4", *BACKENDS4[:2])
WEB6 = endpoint_slice("web-6", *BACKENDS6[:2])
NODE = node("w1", NODE4, NODE6)


@pytest.fixture
def serving(agent: AgentUnderTest) -> AgentUnderTest:
    """An agent that serves the Service `web` from one file."""
    agent.write("web.yaml", NODE, WEB, WEB4, WEB6)
    agent.start()
    return agent


def answers(sandbox: Sandbox, address: str, port: int = 80, times: int = 20) -> set[str]:
    return {answer for answer, _ in sandbox.run(lambda: [ask_tcp(address, port) for _ in range(times)])}


@pytest.mark.parametrize(
    ("address", "port", "served_by"),
    [
        (SERVICE4, 80, BACKENDS4[:2]),
        (SERVICE6, 80, BACKENDS6[:2]),
        (NODE4, 32000, BACKENDS4[:2]),
        (NODE6, 32000, BACKENDS6[:2]),
    ],
    ids=["ClusterIP, IPv4", "ClusterIP, IPv6", "NodePort, IPv4", "NodePort, IPv6"],
)
def test_a_service_in_the_folder_is_served(
    sandbox: Sandbox, serving: AgentUnderTest, address: str, port: int, served_by: tuple[str, ...]
) -> None:
    assert answers(sandbox, address, port) == set(served_by)


# A network of its own, with a device by which nothing leaves.
UPLINK = "ip link add eth0 type veth peer name far && ip address add 172.18.0.3/24 dev eth0 && ip link set eth0 up"
SET_UP = f"ip link set lo up && {UPLINK} && ip route add default via 172.18.0.1"
ALONE = ["unshare", "--net", "sh", "-c", f'{SET_UP} && exec "$@"', "sh"]


@pytest.mark.parametrize("packet_path", [False, True], ids=["sockets alone", "with the packet path"])
def test_a_quiet_start_and_the_next_one_log_no_warning(agent: AgentUnderTest, *, packet_path: bool) -> None:
    agent.around = ALONE
    if packet_path:
        agent.config.write_text(agent.config.read_text().replace("packet_path = false", "packet_path = true"))
    agent.write("web.yaml", NODE, WEB, WEB4, WEB6)
    for _ in range(2):
        agent.start()
        agent.until(lambda status: status["synced"] and not status["problems"])
        agent.stop()
    lacks = "this kernel lacks a feature"
    loud = [line for line in agent.log.splitlines() if " INFO " not in line and lacks not in line]
    assert not loud
    assert agent.log.count("in sync: 1 Services") == 2


def test_routes_of_an_earlier_agent_go_where_node_routes_is_false(agent: AgentUnderTest) -> None:
    left = "ip route add 10.244.9.0/24 via 172.18.0.9 protocol 83"
    agent.around = ["unshare", "--net", "sh", "-c", f'{SET_UP} && {left} && exec "$@"', "sh"]
    agent.write("web.yaml", NODE, WEB, WEB4, WEB6)
    agent.start()
    agent.stop()
    assert "node routes: 1 are removed, because node_routes is false" in agent.log


def test_a_fault_in_a_librarys_own_code_says_in_the_log_where(serving: AgentUnderTest) -> None:
    assert serving.kill(signal.SIGSEGV) == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in serving.log
    assert 'File "' in serving.log


def test_killed_restarted_and_upgraded_under_load_no_connect_fails(
    sandbox: Sandbox, serving: AgentUnderTest, build: Callable[..., Path]
) -> None:
    with load(sandbox, SERVICE4, clients=8) as running:
        for objects in (None, build("-DLOOKUP_TRIES=4"), None):
            for number in (signal.SIGKILL, signal.SIGTERM):
                serving.kill(number)
                serving.configure(**({"objects": str(objects)} if objects else {}))
                serving.start()
    result = running.result
    assert result.failed == []
    assert result.connects > 500
    assert result.backends == set(BACKENDS4[:2])


def test_a_removed_endpoint_gets_no_connect_once_its_removal_is_reported_applied(
    sandbox: Sandbox, serving: AgentUnderTest
) -> None:
    """Sets of two out of eight endpoints, one after the other; at every moment one endpoint at least is ready."""
    sets = [set(BACKENDS4[n % 7 : n % 7 + 2]) for n in range(60)]
    with load(sandbox, SERVICE4, clients=8) as running:
        written, applied = [0.0], [0.0]
        for generation, members in enumerate(sets[1:], start=2):
            written.append(running.now())
            serving.write("web.yaml", NODE, WEB, endpoint_slice("web-4", *sorted(members), generation=generation), WEB6)
            serving.applied("EndpointSlice/default/web-4", generation)
            applied.append(running.now())
    assert running.result.failed == []
    assert running.result.connects > 500
    wrong = [seen for seen in running.result.seen if seen.backend not in allowed(sets, written, applied, seen)]
    assert wrong == []


def allowed(sets: list[set[str]], written: list[float], applied: list[float], seen: Seen) -> set[str]:
    """Return the union of the sets that may have been in the kernel at some moment of a connect."""
    first = max(n for n, moment in enumerate(applied) if moment <= seen.began)
    last = max(n for n, moment in enumerate(written) if moment <= seen.ended)
    return set().union(*sets[first : last + 1])


def test_five_hundred_services_are_right_after_start_and_a_changed_file_costs_its_own_difference(
    sandbox: Sandbox, agent: AgentUnderTest
) -> None:
    for n in range(500):
        name, ip = f"s{n}", f"10.97.{n >> 8}.{n & 255}"
        four = [BACKENDS4[(n + i) % 8] for i in range(4)]
        agent.write(f"{name}.yaml", service(name, ip), endpoint_slice(f"{name}-4", *four))
    agent.start()
    held = {f: b for f, b in dump.read_frontends(Pins(agent.bpffs).maps).items() if f.protocol == socket.IPPROTO_TCP}
    assert len(held) == 500
    for frontend, serving in held.items():
        n = frontend.address[14] << 8 | frontend.address[15]
        assert {b.address[-1] for b in serving.backends} == {(n + i) % 8 + 1 for i in range(4)}
    before = agent.until(lambda _: True)["writes"]
    agent.write("s7.yaml", service("s7", "10.97.0.7"), endpoint_slice("s7-4", BACKENDS4[0], generation=2))
    after = agent.applied("EndpointSlice/default/s7-4", 2)["writes"]
    assert {name: after[name] - before.get(name, 0) for name in after} == {
        "backends": 1,
        "rows": 2,  # one publishing store each for TCP and UDP
        "frontends": 0,
        "addresses": 0,
    }
    assert answers(sandbox, "10.97.0.7") == {BACKENDS4[0]}


BROKEN: dict[str, tuple[object, ...]] = {
    "an empty file": ("",),
    "broken YAML": ("kind: Service\n  metadata: [",),
    "wrong types": (NODE, {**WEB, "spec": {**WEB["spec"], "ports": "eighty"}}, WEB4, WEB6),
    "an address that is none": (NODE, WEB, {**WEB4, "endpoints": [{"addresses": ["10.244.1.300"]}]}, WEB6),
    "a port out of range": (NODE, {**WEB, "spec": {**WEB["spec"], "ports": [{"port": 70000}]}}, WEB4, WEB6),
    "a file of 50 MB": ("# " + "x" * (50 << 20),),
}


@pytest.mark.parametrize("documents", BROKEN.values(), ids=BROKEN)
def test_bad_input_is_named_and_what_it_said_before_goes_on(
    sandbox: Sandbox, agent: AgentUnderTest, documents: tuple[object, ...]
) -> None:
    agent.write("web.yaml", NODE, WEB, WEB4, WEB6)
    agent.write("other.yaml", service("other", "10.96.0.11"), endpoint_slice("other-4", BACKENDS4[5]))
    agent.start()
    agent.write("web.yaml", *documents)
    problem = agent.until(lambda status: status["problems"])["problems"][0]
    assert problem["file"].endswith("web.yaml")
    assert "web.yaml" in agent.log
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])
    assert answers(sandbox, "10.96.0.11") == {BACKENDS4[5]}
    agent.write("other.yaml", service("other", "10.96.0.11"), endpoint_slice("other-4", BACKENDS4[6], generation=2))
    agent.applied("EndpointSlice/default/other-4", 2)
    assert answers(sandbox, "10.96.0.11") == {BACKENDS4[6]}


def test_a_second_service_of_the_same_name_is_named_and_left_out(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.write("zweb.yaml", service("web", "10.96.0.77"))
    problem = serving.until(lambda status: status["problems"])["problems"][0]
    assert problem["file"].endswith("zweb.yaml")
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])


def test_a_removed_file_ends_its_services_and_no_others(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.write("other.yaml", service("other", "10.96.0.11"), endpoint_slice("other-4", BACKENDS4[5]))
    serving.applied("EndpointSlice/default/other-4", 1)
    (serving.manifests / "web.yaml").unlink()
    serving.until(lambda status: "Service/default/web" not in status["applied"]["objects"])
    assert answers(sandbox, "10.96.0.11") == {BACKENDS4[5]}
    frontends = dump.read_frontends(Pins(serving.bpffs).maps)
    assert {frontend.address[-1] for frontend in frontends} == {11}


def test_nothing_is_pruned_at_start_until_every_file_can_be_read(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    serving.stop()
    serving.write("web.yaml", "broken: [")
    serving.start()
    assert serving.until(lambda _: True)["synced"] is False
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])
    serving.write("web.yaml", service("web", "10.96.0.12"), WEB4)
    serving.until(lambda status: status["synced"])
    assert answers(sandbox, "10.96.0.12") == set(BACKENDS4[:2])
    assert {frontend.address[-1] for frontend in dump.read_frontends(Pins(serving.bpffs).maps)} == {12}


def test_a_service_keeps_its_endpoints_while_the_file_that_has_them_cannot_be_read(
    sandbox: Sandbox, agent: AgentUnderTest
) -> None:
    agent.write("endpoints.yaml", WEB4, WEB6)
    agent.write("web.yaml", NODE, WEB)
    agent.start()
    agent.stop()
    agent.write("endpoints.yaml", "broken: [")
    agent.start()
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])
    agent.write("endpoints.yaml", endpoint_slice("web-4", BACKENDS4[2], generation=2))
    agent.applied("EndpointSlice/default/web-4", 2)
    assert answers(sandbox, SERVICE4) == {BACKENDS4[2]}


def test_a_second_agent_says_so_and_gives_up(serving: AgentUnderTest) -> None:
    second = serving.run("agent")
    assert second.returncode == 1
    assert "another agent serves this node" in second.stderr
    assert serving.alive


def test_cleanup_waits_for_the_agent_to_be_stopped(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    refused = serving.run("cleanup")
    assert refused.returncode == 1
    assert "another agent" in refused.stderr
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])
    serving.stop()
    assert serving.run("cleanup").returncode == 0
    with pytest.raises(AssertionError, match="unreachable"):
        sandbox.run(lambda: ask_tcp(SERVICE4, 80))


def source_of(agent: AgentUnderTest) -> str:
    """Return what the status says of the source."""
    return next(line for line in agent.run("status").stdout.splitlines() if line.startswith("Source:"))


class TestStatus:
    def test_it_shows_hooks_tables_and_backends(self, serving: AgentUnderTest) -> None:
        shown = serving.run("status", "--verbose")
        assert shown.returncode == 0, shown.stderr
        for text in ("11 of 11 attached and effective", "in sync", "default/web", f"{BACKENDS4[0]}:8080", "frontends"):
            assert text in shown.stdout

    @pytest.mark.parametrize("how", [(), ("--json",)], ids=["text", "JSON"])
    def test_it_imports_nothing_that_an_agents_answer_saves(
        self, serving: AgentUnderTest, how: tuple[str, ...]
    ) -> None:
        """msgspec and what reads a configuration take 50 ms, more than all else of the command."""
        python, *command = serving.command("status", *how)
        done = subprocess.run([python, "-X", "importtime", *command], capture_output=True, text=True, check=True)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "socklb.control_socket" in imported
        assert not imported & {"msgspec", "socklb.config", "socklb.report", "socklb.status", "asyncio"}

    def test_an_agent_of_another_version_is_told_from_none(self, serving: AgentUnderTest) -> None:
        """It does not know what is asked; that is no reason to call it stopped."""
        serving.stop()
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(serving.socket))
            old.listen()
            with subprocess.Popen(serving.command("status"), stderr=subprocess.PIPE, text=True) as asking:
                client, _ = old.accept()
                with client:
                    client.recv(100)
                    client.sendall(b'{"error": "\'summary\' is not one of status"}')
                _, told = asking.communicate(timeout=20)
        assert asking.returncode == 1
        assert "'summary' is not one of status" in told

    def test_without_an_agent_it_shows_what_the_kernel_serves_and_exits_with_3(self, serving: AgentUnderTest) -> None:
        serving.stop()
        shown = serving.run("status", "--verbose")
        assert shown.returncode == 3
        assert "not running; what is pinned goes on serving sockets\n" in shown.stdout
        assert f"{BACKENDS4[0]}:8080" in shown.stdout
        assert "no agent runs: changes are not followed, damage is not mended; next: " in shown.stdout

    def test_waiting_ends_once_the_agent_is_in_sync(self, serving: AgentUnderTest) -> None:
        serving.stop()
        command = serving.command("status", "--wait", "20")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            time.sleep(1)
            assert waiting.poll() is None
            serving.launch()
            told, _ = waiting.communicate(timeout=20)
        assert waiting.returncode == 0
        assert "in sync" in told

    def test_waiting_in_vain_exits_with_3_without_an_agent_and_with_4_if_it_is_not_in_sync(
        self, serving: AgentUnderTest
    ) -> None:
        assert serving.run("status", "--wait", "0").returncode == 0
        serving.stop()
        assert serving.run("status", "--wait", "0.2").returncode == 3
        serving.write("broken.yaml", "apiVersion: [")
        serving.start()
        shown = serving.run("status", "--wait", "0.2")
        assert shown.returncode == 4
        assert "not in sync" in shown.stdout

    def test_an_agent_that_is_too_busy_to_answer_is_named(
        self, serving: AgentUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control_socket, "TIMEOUT", 0.2)
        assert control_socket.ask(serving.socket, "status")
        serving.send(signal.SIGSTOP)
        try:
            with pytest.raises(SocklbError, match=r"did not answer in 0\.2 s"):
                control_socket.ask(serving.socket, "status")
        finally:
            serving.send(signal.SIGCONT)

    def test_a_source_that_is_away_is_not_called_in_sync(self, serving: AgentUnderTest) -> None:
        away = serving.home / "away"
        assert ": in sync, revision" in source_of(serving)
        serving.manifests.rename(away)
        lost = serving.until(lambda status: status["source"]["lost_since"] is not None)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lost["source"]["lost_since"]))
        told = source_of(serving)
        assert "in sync" not in told
        assert f"since {since} (cannot be read: No such file or directory); what was known then is served" in told
        away.rename(serving.manifests)
        serving.until(lambda status: status["source"]["lost_since"] is None)
        assert ": in sync, revision" in source_of(serving)

    def test_a_hook_that_was_taken_away_is_not_called_attached(self, serving: AgentUnderTest) -> None:
        serving.stop()  # it would put it back
        (Pins(serving.bpffs).links / "connect4").unlink()
        shown = serving.run("status", "--verbose")
        assert "10 of 11 attached and effective" in shown.stdout
        assert "NOT ATTACHED" in shown.stdout
        assert "not running; what is pinned goes on serving NOT all sockets" in shown.stdout
        assert f"1 of 11 hooks is not attached to {serving.cgroup}: connect4" in shown.stdout

    @pytest.mark.parametrize("how", ["unpinned", "cleaned up"])
    def test_without_an_agent_and_hooks_nothing_is_said_to_be_served(self, serving: AgentUnderTest, how: str) -> None:
        serving.stop()
        if how == "cleaned up":
            assert serving.run("cleanup").returncode == 0
        else:
            shutil.rmtree(Pins(serving.bpffs).links)
        shown = serving.run("status")
        assert "goes on serving" not in shown.stdout
        assert "not running; nothing that is pinned serves" in shown.stdout
        found = json.loads(serving.run("status", "--json").stdout)
        problems = [problem["message"] for problem in found["problems"]]
        assert [alarm["name"] for alarm in found["alarms"]] == ["hooks_damaged", "not_running"]
        assert problems[0].startswith(f"11 of 11 hooks are not attached to {serving.cgroup}: sock_release, ")
        assert all("; next: " in problem for problem in problems)

    def test_service_list_names_services_and_backends(self, serving: AgentUnderTest) -> None:
        shown = serving.run("service", "list")
        assert shown.returncode == 0, shown.stderr
        row = next(line for line in shown.stdout.splitlines() if f"{SERVICE4}:80/TCP" in line)
        assert row.split()[:2] == ["default/web", "ClusterIP"]
        assert f"{BACKENDS4[1]}:8080" in row


def refused(sandbox: Sandbox, address: str, port: int) -> bool:
    try:
        sandbox.run(lambda: ask_tcp(address, port))
    except AssertionError as failed:  # it carries the error of the process
        return "ConnectionRefusedError" in str(failed)
    return False


def test_terminating_endpoints_serve_while_none_is_ready(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """A rollout of one: the old one terminates, nothing is ready, then the new one is."""
    terminating = {"ready": False, "serving": True, "terminating": True}
    steps: list[tuple[dict[str, bool], bool, set[str]]] = [
        (terminating, False, {BACKENDS4[0]}),
        (terminating, True, {BACKENDS4[1]}),
        ({**terminating, "serving": False}, False, set()),
    ]
    for generation, (old, new_is_ready, served_by) in enumerate(steps, start=2):
        slice_ = endpoint_slice("web-4", *BACKENDS4[:2], generation=generation)
        slice_["endpoints"][0]["conditions"] = old
        slice_["endpoints"][1]["conditions"] = {"ready": new_is_ready}
        serving.write("web.yaml", NODE, WEB, slice_, WEB6)
        serving.applied("EndpointSlice/default/web-4", generation)
        if served_by:
            assert answers(sandbox, SERVICE4) == served_by
        else:
            assert refused(sandbox, SERVICE4, 80)


def error_of(sandbox: Sandbox, address: str, port: int) -> str:
    with pytest.raises(AssertionError) as failed:  # it carries the error of the process
        sandbox.run(lambda: ask_tcp(address, port))
    return str(failed.value)


def test_external_traffic_policy_local_leaves_another_node_to_itself(sandbox: Sandbox, serving: AgentUnderTest) -> None:
    """The second node's address is nobody's here, so what goes there as it is finds no way.

    At its own node's address a pod gets any endpoint, as with kube-proxy.
    """
    other = node("w2", "172.18.0.77")
    local = {**WEB, "spec": {**WEB["spec"], "externalTrafficPolicy": "Local"}}
    slice_ = endpoint_slice("web-4", *BACKENDS4[:2], generation=2)
    for endpoint, name in zip(slice_["endpoints"], ("w1", "w2"), strict=True):
        endpoint["nodeName"] = name
    serving.write("web.yaml", NODE, other, local, slice_, WEB6)
    serving.applied("EndpointSlice/default/web-4", 2)
    assert answers(sandbox, NODE4, 32000) == set(BACKENDS4[:2])
    assert answers(sandbox, SERVICE4) == set(BACKENDS4[:2])
    assert "Network is unreachable" in error_of(sandbox, "172.18.0.77", 32000)
    shown = serving.run("service", "list").stdout
    assert {line.split()[1] for line in shown.splitlines() if ":32000/TCP" in line} == {"NodePort"}

    slice_["metadata"]["generation"] = 3
    serving.write("web.yaml", NODE, other, WEB, slice_, WEB6)
    serving.applied("EndpointSlice/default/web-4", 3)
    assert answers(sandbox, "172.18.0.77", 32000) == answers(sandbox, NODE4, 32000) == set(BACKENDS4[:2])


def test_for_packets_the_tables_hold_more_and_give_it_back(agent: AgentUnderTest) -> None:
    """Second rows for clients outside, source ranges and networks; what is told counts each frontend once."""
    agent.around = ALONE
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["192.0.2.0/24"]}
    balanced = {
        **WEB,
        "spec": {**WEB["spec"], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7", "ipMode": "VIP"}]}},
    }
    agent.write("web.yaml", NODE, balanced, WEB4, WEB6)
    found: dict[str, tuple[int, ...]] = {}
    for way in ("true", "false"):
        agent.configure()
        agent.config.write_text(
            agent.config.read_text().replace("= false", f'= {way}\npod_cidrs = ["10.244.0.0/16", "fd00:10:244::/56"]')
        )
        agent.start()
        status = agent.until(lambda status: status["synced"])
        frontends = dump.read_frontends(Pins(agent.bpffs).maps)
        listed = agent.run("service", "list").stdout.count("/TCP")
        held = [count(agent, name, key) for name, key in (("source_ranges", 24), ("networks", 20))]
        scoped = sum(1 for frontend in frontends if frontend.scope)
        found[way] = (status["services"]["frontends"], len(frontends) - scoped, scoped, listed, *held)
        agent.stop()
    # ClusterIPs and NodePorts of two families and the ingress address, each over TCP and UDP
    assert found == {"true": (10, 10, 6, 5, 2, 3), "false": (8, 8, 0, 5, 0, 0)}


def count(agent: AgentUnderTest, name: str, key: int) -> int:
    with closing(TrieTable(Pins(agent.bpffs).maps, name, key, 1)) as table:
        return sum(1 for _ in table.items())
