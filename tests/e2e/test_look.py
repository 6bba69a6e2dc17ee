"""Live sockets of pods that kubelet and containerd made: seen, named, and moved when their backend goes."""

import json
import subprocess

from inventory.group_data.kind import services
from tests.support.kubernetes import Kubernetes

WEB, DNS = services["web"]["addresses"][0], services["dns"]["addresses"][0]
WAIT = 30.0
# Asks over one connected socket, ten times a second, until told to end. Prints "ready" after the first question, and
# at the end how many were answered, how many were not, how the last ten went, and the name of the peer.
RESOLVER = r"""
import json, os, socket, sys, time
address, stop = sys.argv[1:3]
told = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(0.5)
    client.connect((address, 53))
    while not os.path.exists(stop):
        number = len(told).to_bytes(2, "big")
        try:
            client.send(number + b"\1\0\0\1\0\0\0\0\0\0\3web\7example\4test\0\0\1\0\1")
            while (answer := client.recv(512))[:2] != number:
                pass
            told.append(True)
        except OSError:
            told.append(False)
        if len(told) == 1:
            print("ready", flush=True)
        time.sleep(0.1)
    print(json.dumps([sum(told), told.count(False), told[-10:], client.getpeername()]))
"""


def test_a_monitor_names_pod_and_backend_of_a_connect(kubernetes: Kubernetes) -> None:
    node = kubernetes.workers[0]
    backends = {pod["status"]["podIP"] for pod in kubernetes.pods("app=web")}
    (client, *_) = kubernetes.pods("app=client", f"--field-selector=spec.nodeName={node}")
    words = ("socklb", "monitor", "--service", "web", "--hook", "connect", "--count", "1")
    with kubernetes.nodes[node].stream(*words) as monitor:
        assert monitor.stdout
        assert monitor.stdout.readline().startswith("TIME")  # it watches
        kubernetes.pod_on(node).output("curl", "-sS", "--max-time", "5", f"http://{WEB}/")
        (line,) = monitor.communicate(timeout=WAIT)[0].splitlines()
    _, pod, who, hook, protocol, asked, verdict, backend, _, service = line.split()
    assert pod == f"default/{client['metadata']['name']}"
    assert who.endswith("/curl")
    assert (hook, protocol, asked, verdict) == ("connect4", "TCP", f"{WEB}:80", "translated")
    assert backend.rpartition(":")[0] in backends
    assert service == "default/web"


def test_a_connected_resolver_follows_its_service_through_a_rolling_update(kubernetes: Kubernetes) -> None:
    node, stop = kubernetes.workers[0], "/tmp/resolver.stop"
    pod = kubernetes.pod_on(node)
    (client, *_) = kubernetes.pods("app=client", f"--field-selector=spec.nodeName={node}")
    before = {one["status"]["podIP"] for one in kubernetes.pods("app=dns")}
    with pod.stream("python3", "-c", RESOLVER, DNS, stop) as resolver:
        try:
            assert resolver.stdout
            assert resolver.stdout.readline() == "ready\n"
            assert given(kubernetes, node, client) <= before
            kubernetes.kubectl("rollout", "restart", "deployment/dns")
            kubernetes.rolled_out("deployment/dns")
            after = {one["status"]["podIP"] for one in kubernetes.pods("app=dns")}
            assert given(kubernetes, node, client) <= after
            subprocess.run(["sleep", "2"], check=True)
        finally:
            pod.output("touch", stop)
        answered, lost, last, peer = json.loads(resolver.communicate(timeout=WAIT)[0])
        pod.output("rm", stop)
    assert not before & after
    assert answered > 20
    assert last == [True] * 10
    assert lost <= 2, "what was in flight when its backend went"
    assert peer == [DNS, 53]


def given(kubernetes: Kubernetes, node: str, client: dict[str, dict[str, str]]) -> set[str]:
    """Return whom the connected UDP sockets of a pod have, as the kernel's records say it."""
    listed = kubernetes.nodes[node].output("socklb", "socket", "list", "--service", "dns", "--json")
    name = f"default/{client['metadata']['name']}"
    rows = [row for row in json.loads(listed) if row["pod"] == name and row["protocol"].lower().startswith("udp")]
    assert rows
    return {row["backend"].rpartition(":")[0] for row in rows}
