"""A pod that is left out is served by the packet path: seen on its wire, beside that of a pod that the hooks serve."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inventory.place import Place
from labs.engine.capture import read, recording, tcpdump, until_stdin_ends
from tests.support.cluster import Cluster, deploy
from tests.support.waiting import until

LEFT_OUT, CONTROL = "client", "dns-1"
SERVICES = ["10.96.0.10", "fd00:10:96::a"]
TO_SERVICES = "tcp and (port 80 or port 8080)"


@pytest.fixture(scope="module")
def w1(cluster: Cluster) -> Iterator[Place]:
    """The node w1 with an agent that leaves out one of its pods."""
    node = cluster.node("w1")
    deploy("agent", "--data", f'bypass_cgroups=["pods/{LEFT_OUT}"]')
    until(lambda: [row["cgroup"] for row in status(node)["left_out"]] == [f"/pods/{LEFT_OUT}"])
    yield node
    deploy("agent")
    until(lambda: not status(node)["left_out"])


def status(node: Place) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads(node.output("socklb", "status", "--json"))
    return found


def on_the_wire(cluster: Cluster, folder: Path) -> dict[str, set[tuple[str, int]]]:
    """Have both pods ask the Service; give whom their packets are for."""
    asked = [f"http://{f'[{ip}]' if ':' in ip else ip}/" for ip in SERVICES]
    with ExitStack() as captures:
        for name in (LEFT_OUT, CONTROL):
            command = cluster.pod(name).argv(*until_stdin_ends(tcpdump("eth0", TO_SERVICES)))
            captures.enter_context(recording(command, folder / f"{name}.pcap"))
        for name in (LEFT_OUT, CONTROL):
            answers = cluster.pod(name).output("curl", "-gs", "--max-time", "20", *asked)
            assert answers.count("web-") == len(SERVICES), f"{name} is served"
    return {name: receivers(folder / f"{name}.pcap", cluster.addresses(name)) for name in (LEFT_OUT, CONTROL)}


def receivers(file: Path, own: list[str]) -> set[tuple[str, int]]:
    return {(packet.target.address, packet.target.port or 0) for packet in read(file) if packet.source.address in own}


def test_the_service_is_on_the_wire_of_the_pod_that_is_left_out_and_of_no_other(
    cluster: Cluster, w1: Place, tmp_path: Path
) -> None:
    found = on_the_wire(cluster, tmp_path)
    assert found[LEFT_OUT] == {(ip, 80) for ip in SERVICES}
    assert {port for _, port in found[CONTROL]} == {8080}


def test_a_datagram_of_the_pod_that_is_left_out_is_answered_by_the_service(cluster: Cluster, w1: Place) -> None:
    asked = ["dig", "+tries=3", "+time=5", "@10.96.0.53", "txt", "whoami.example.test"]
    assert '"dns-' in cluster.pod(LEFT_OUT).output(*asked)


@pytest.fixture
def process(cluster: Cluster, w1: Place) -> Iterator[None]:
    """A process in the pod that is left out; it ends with its standard input."""
    argv = cluster.pod(LEFT_OUT).argv("sh", "-c", "echo there; exec cat")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as there:
        assert there.stdin
        assert there.stdout
        assert there.stdout.readline() == b"there\n"
        yield
        there.stdin.close()


@pytest.mark.usefixtures("process")
def test_status_and_explain_say_so(w1: Place) -> None:
    shown = w1.output("socklb", "status", "--verbose")
    assert f"/pods/{LEFT_OUT}  bypass_cgroups pods/{LEFT_OUT}  since" in shown
    explained = json.loads(w1.output("socklb", "explain", "10.96.0.10:80", "--json", "--from", f"pods/{LEFT_OUT}"))
    assert explained["verdict"] == "translated"
    assert explained["sentence"].startswith("pod_in leads it to")
    assert ("left_out", "there") in {(step["table"], step["value"].partition(",")[0]) for step in explained["steps"]}
    control = json.loads(w1.output("socklb", "explain", "10.96.0.10:80", "--json", "--from", f"pods/{CONTROL}"))
    assert control["sentence"].startswith("connect4 leads it to")


def test_it_is_served_by_hooks_again_when_the_configuration_names_it_no_longer(
    cluster: Cluster, w1: Place, tmp_path: Path
) -> None:
    deploy("agent")
    until(lambda: not status(w1)["left_out"])
    assert {port for _, port in on_the_wire(cluster, tmp_path)[LEFT_OUT]} == {8080}
