"""What happens to the packet path while agents die, rules are flushed, kernels are old, and at the end."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.place import Place
from tests.support.cluster import Cluster, deploy
from tests.support.netexec import Request, ask
from tests.support.outside import NODES, SHOWN, SHOWN_IPS, shown, way_out
from tests.support.waiting import until

# argv: address, port, a file that says when to stop; half of the connects are UDP requests of new sockets.
LOAD = """
import json, os, socket, sys, time
address, port, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
done, failed, end = 0, [], time.monotonic() + 60
while not os.path.exists(stop) and time.monotonic() < end:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(5)
            try:
                client.connect((address, port))
                client.sendall(b"hostname" if kind == socket.SOCK_DGRAM else b"GET /hostname HTTP/1.0\\r\\n\\r\\n")
                assert client.recv(1000)
                done += 1
            except OSError as error:
                failed.append(repr(error))
    time.sleep(0.01)
print(json.dumps([done, failed]))
"""
STOP = "/run/socklb/test-packets.stop"
OLD_OBJECTS = "/run/socklb/old-objects"


@pytest.fixture(scope="module", autouse=True)
def _shown(cluster: Cluster) -> Iterator[None]:
    with shown(cluster):
        yield


@pytest.fixture
def w1(cluster: Cluster) -> Iterator[Place]:
    """The node w1, with the agent and the configuration that it should have again afterwards."""
    yield cluster.node("w1")
    deploy("agent")


def kill_agent(node: Place) -> None:
    node.output("sh", "-c", "kill -9 $(cat /run/socklb/agent.pid)")


def problems(node: Place) -> str:
    return " ".join(p["message"] for p in json.loads(node.output("socklb", "status", "--json"))["problems"])


def path(node: Place) -> dict[str, Any]:
    return json.loads(node.output("socklb", "status", "--json"))["packet_path"]


@contextlib.contextmanager
def load(outside: Place, address: str) -> Iterator[list[tuple[int, list[str]]]]:
    """Keep a client outside asking for a NodePort; fill the list at the end."""
    results: list[tuple[int, list[str]]] = []
    argv = outside.argv("python3", "-Ic", LOAD, address, str(SHOWN), STOP)
    job = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        yield results
    finally:
        outside.output("touch", STOP)
        results.append(json.loads(job.communicate(timeout=30)[0]))
        outside.output("rm", STOP)


def test_an_agent_that_is_killed_and_started_again_fails_no_connection_from_outside(
    cluster: Cluster, w1: Place
) -> None:
    with load(cluster.node("outside"), NODES["w1"][0]) as results:
        for _ in range(2):
            kill_agent(w1)
            deploy("agent")
    ((done, failed),) = results
    assert failed == []
    assert done > 100


@pytest.mark.parametrize("program", ["uplink_in", "uplink_out"])
def test_a_program_that_somebody_took_away_is_told_and_put_back(cluster: Cluster, w1: Place, program: str) -> None:
    outside, request = cluster.node("outside"), Request("http", NODES["w1"][0], SHOWN)
    before = path(w1)["damages"]
    w1.output("sh", "-c", f"rm /sys/fs/bpf/socklb/v*/tc/links/{program}-*")
    until(lambda: path(w1)["damages"] > before and path(w1)["whole"], 10)
    assert f"not pinned: {program}" in path(w1)["damage"]
    assert ask(outside, request) == ["client-2"]
    assert problems(w1) == ""


def test_a_firewall_that_flushes_every_rule_changes_nothing(cluster: Cluster, w1: Place) -> None:
    request = Request("http", NODES["w1"][0], SHOWN)
    w1.output("nft", "flush", "ruleset")
    assert ask(cluster.node("outside"), request) == ["client-2"]


def test_with_programs_for_older_kernels_the_packet_path_refuses(cluster: Cluster, w1: Place) -> None:
    """Before Linux 6.1 a hook cannot say ECONNREFUSED: it lets such a connect pass."""
    package = "/opt/socklb/lib/socklb/datapath"
    w1.output("sh", "-c", f"mkdir -p {OLD_OBJECTS} && cp {package}/socklb-5.12.bpf.o {OLD_OBJECTS}/socklb.bpf.o")
    w1.output("sh", "-c", f"""echo 'objects = "{OLD_OBJECTS}"' >>/etc/socklb/socklb.toml""")
    restart(w1)
    client = cluster.pod("client")
    refused = [Request("http", address, 80) for address in ("10.96.0.99", "fd00:10:96::99")]
    refused += [Request("http", address, 81) for address in SHOWN_IPS]
    with way_out(w1):
        assert ask(client, *refused) == ["ECONNREFUSED"] * 4
    assert ask(client, *(Request("http", address, 80) for address in SHOWN_IPS)) == ["client-2"] * 2


def test_hooks_that_leave_pods_alone_have_their_sockets_served_at_their_devices(cluster: Cluster, w1: Place) -> None:
    client, own = cluster.pod("client"), cluster.addresses("client")
    asked = ["curl", "-gs", "--max-time", "20", "http://10.96.0.10/", "http://[fd00:10:96::a]/"]
    before = flows(w1, own)
    assert "web" in client.output(*asked)
    assert flows(w1, own) == before, "the control: by hooks"
    deploy("agent", "--data", "pod_sockets=false")
    until(lambda: path(w1)["whole"])
    assert "web" in client.output(*asked)
    assert [service for _, service in flows(w1, own).items() - before.items()] == ["web", "web"]


def test_host_routing_hands_on_what_comes_from_outside(cluster: Cluster, w1: Place) -> None:
    """The control: without it the node's stack counts each packet that it forwards."""

    def forwarded() -> int:
        return int(w1.output("sh", "-c", "awk '/^Ip: [0-9]/ {print $7}' /proc/net/snmp"))

    def ask_twenty_times() -> int:
        before = forwarded()
        for _ in range(20):
            outside.output("curl", "-s", "--max-time", "5", url)
        return forwarded() - before

    outside, url = cluster.node("outside"), f"http://{NODES['w1'][0]}:32000/"
    assert ask_twenty_times() > 40
    deploy("agent", "--data", "host_routing=true")
    until(lambda: path(w1)["whole"])
    assert path(w1)["host_routing"] is True
    assert ask_twenty_times() < 20
    deploy("agent")
    until(lambda: path(w1)["whole"])


def flows(node: Place, clients: list[str]) -> dict[str, str]:
    """The Services of clients' flows, by client and port."""
    found = (json.loads(node.output("socklb", "flow", "list", "--client", one, "--json")) for one in clients)
    return {flow["client"]: flow["service"].rpartition("/")[2] for flows in found for flow in flows if flow["service"]}


def test_the_rules_of_a_kube_proxy_are_named_until_they_are_gone(w1: Place) -> None:
    assert problems(w1) == ""
    w1.output("nft", "add table ip kube-proxy; add table ip nat; add chain ip nat KUBE-SERVICES")
    try:
        restart(w1)
        until(lambda: "table ip kube-proxy, chain ip nat KUBE-SERVICES" in problems(w1))
        assert "kube-proxy --cleanup" in problems(w1)
    finally:
        w1.output("nft", "delete table ip kube-proxy; delete table ip nat")
    until(lambda: problems(w1) == "")


def test_cleanup_detaches_the_programs_and_the_next_agent_attaches_them_again(cluster: Cluster, w1: Place) -> None:
    outside, request = cluster.node("outside"), Request("http", NODES["w1"][0], SHOWN)
    kill_agent(w1)
    assert ask(outside, request) == ["client-2"]
    w1.output("socklb", "cleanup")
    assert ask(outside, request) == ["ECONNREFUSED"]
    deploy("agent")
    until(lambda: path(w1)["whole"])
    assert ask(outside, request) == ["client-2"]


def restart(node: Place) -> None:
    """Stop the agent and start it with the configuration as it is, and wait until it has read everything."""
    daemon = "start-stop-daemon --quiet --pidfile /run/socklb/agent.pid"
    node.output("sh", "-c", f"{daemon} --stop --retry TERM/5/KILL/2")
    start = f"{daemon} --start --background --make-pidfile --output /var/log/socklb.log"
    node.output("sh", "-c", f"{start} --startas /usr/local/bin/socklb -- agent")
    until(lambda: json.loads(node.run("socklb", "status", "--json").stdout or "{}").get("synced", False))
