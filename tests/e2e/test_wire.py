"""What a pod's interface carries: pod to pod from the first SYN on. The control: the same on a node without hooks."""

import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from inventory.place import Place
from tests.support.kubernetes import Kubernetes

WATCH = "echo $$ >/tmp/tcpdump.pid; exec timeout 60 tcpdump -i eth0 -nn -l --immediate-mode tcp"
PACKET = re.compile(r"IP6? (\S+)\.(\d+) > (\S+)\.(\d+): Flags \[([^\]]+)\]")
MARKER = 9  # nobody listens: a connect to this port is the last that a capture sees


class Packet(NamedTuple):
    source: tuple[str, int]
    target: tuple[str, int]
    flags: str


def capture(pod: Place, url: str, last: str) -> tuple[str, list[Packet]]:
    """Ask a URL in the pod; give the answer and what was on its eth0. `last` is another pod's address."""
    with subprocess.Popen(
        pod.argv("sh", "-c", WATCH), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tcpdump:
        assert tcpdump.stdout
        assert tcpdump.stderr
        while "listening on" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None
        answer = pod.output("curl", "-sS", "--max-time", "10", url)
        host = f"[{last}]" if ":" in last else last
        pod.run("curl", "-s", "--max-time", "10", f"http://{host}:{MARKER}/")
        packets: list[Packet] = []
        for line in tcpdump.stdout:
            if found := PACKET.search(line):
                packet = Packet((found[1], int(found[2])), (found[3], int(found[4])), found[5])
                if packet.target == (last, MARKER):
                    break
                packets.append(packet)
        pod.output("sh", "-c", "kill $(cat /tmp/tcpdump.pid)")
        tcpdump.stdout.read()
    return answer, packets


def addresses(kubernetes: Kubernetes, selector: str) -> dict[str, str]:
    """Address to name of the pods."""
    return {ip["ip"]: pod["metadata"]["name"] for pod in kubernetes.pods(selector) for ip in pod["status"]["podIPs"]}


@pytest.fixture
def without_hooks(kubernetes: Kubernetes) -> Iterator[str]:
    """A node whose agent has gone and taken its hooks along, routes and rules too."""
    name = kubernetes.workers[-1]
    kubernetes.nodes[name].output("sh", "-c", "systemctl stop socklb-agent && socklb cleanup")
    yield name
    kubernetes.nodes[name].output("systemctl", "start", "socklb-agent")
    kubernetes.nodes[name].output("socklb", "status", "--wait", "50")


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_pod_to_pod_from_the_syn_on(kubernetes: Kubernetes, family: int) -> None:
    here, there = kubernetes.workers
    asked = kubernetes.addresses(there)[family]
    url = f"http://[{asked}]:32000/" if family else f"http://{asked}:32000/"
    web = addresses(kubernetes, "app=web")
    last = next(address for address in addresses(kubernetes, "app=dns") if (":" in address) == bool(family))
    answer, packets = capture(kubernetes.pod_on(here), url, last)
    syn, syn_ack, ack, *_ = packets
    assert (syn.flags, syn_ack.flags, ack.flags) == ("S", "S.", ".")
    backend, port = syn.target
    assert (web[backend], port) == (answer, 8080)
    assert syn_ack.source == ack.target == syn.target
    assert not [packet for packet in packets if asked in (packet.source[0], packet.target[0])]


def test_the_control_on_a_node_without_hooks_shows_the_service_address(
    kubernetes: Kubernetes, without_hooks: str
) -> None:
    asked = kubernetes.addresses(kubernetes.workers[0])[0]
    answer, packets = capture(kubernetes.pod_on(without_hooks), f"http://{asked}:32000/", asked)
    assert answer in addresses(kubernetes, "app=web").values()
    assert packets[0].target == (asked, 32000)
    assert not [packet for packet in packets if packet.target[1] == 8080 or packet.source[1] == 8080]
