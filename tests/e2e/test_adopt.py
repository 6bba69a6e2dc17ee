"""deploys/adopt.py: a cluster of somebody else, with a kube-proxy and a network of its own, is taken over under load.

It bears the name of the session's cluster and takes its place: this file runs before the others, which build it anew.
Both modes of kube-proxy have the same cluster: between them it goes back to its kube-proxy, as docs/operations.md says.
"""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from inventory.connectors import kind_cluster
from inventory.connectors.kind_cluster import Wanted
from inventory.group_data.kind import kind_cluster as name
from inventory.group_data.kind import kind_image, kind_workers, pod_cidrs, service_cidrs, tools_image
from inventory.place import Place
from roles.kubectl import Nodes
from roles.kubernetes.facts import KUBE_PROXY_BACKUP
from roles.pods.operations import conflist
from tests.support.cluster import ROOT, changes
from tests.support.hammer import hammering
from tests.support.kubernetes import SEALED_DOCKER, Kubernetes, deploy

OPERATIONS = ROOT / "docs" / "operations.md"
SYSTEM = ("--namespace", "kube-system")
RULES = "{ iptables-save; ip6tables-save; nft list tables; } 2>/dev/null"
# Keeps one connection: a request for each line that it reads.
KEPT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
for line in sys.stdin:
    connection.request("GET", "/hostname")
    print(connection.getresponse().read().decode(), connection.sock.getsockname()[1], flush=True)
"""


def kind_create(mode: str) -> None:
    """As somebody would: without our mark."""
    wanted = Wanted(name, kind_image, kind_workers, pod_cidrs, service_cidrs, kube_proxy_mode=mode)
    config = yaml.safe_load(kind_cluster.config(wanted))
    for node in config["nodes"]:
        del node["extraMounts"]
    command = [kind_cluster.kind_program(), "create", "cluster", "--image", kind_image, "--config", "-"]
    subprocess.run(command, input=yaml.safe_dump(config), text=True, check=True)


def their_network(kubernetes: Kubernetes) -> None:
    nodes = Nodes().process([json.dumps(kubernetes.get("nodes"))])
    for node, place in kubernetes.nodes.items():
        text = conflist(nodes[node]["pod_cidrs"])
        place.output("sh", "-c", "mkdir -p /etc/cni/net.d && cat >/etc/cni/net.d/10-theirs.conflist", given=text)
        for other, found in nodes.items():
            for cidr, gateway in zip(found["pod_cidrs"], found["addresses"], strict=True):
                if other != node:
                    place.output("ip", "route", "add", cidr, "via", gateway)
    kubernetes.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")


@pytest.fixture(scope="module")
def cluster(docker: None) -> Iterator[Kubernetes]:
    """With a kube-proxy in the mode iptables."""
    kind_cluster.remove(name)
    kind_create("iptables")
    kubernetes = Kubernetes()
    their_network(kubernetes)
    serve = ["--image", tools_image, "--replicas=3", "--", "/agnhost", "netexec", "--http-port=8080"]
    kubernetes.kubectl("create", "deployment", "web", *serve)
    kubernetes.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    there = json.dumps({"spec": {"nodeName": kubernetes.workers[0]}})
    kubernetes.kubectl("run", "client", f"--image={tools_image}", f"--overrides={there}", "--", "sleep", "infinity")
    kubernetes.rolled_out("deployment/web")
    kubernetes.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    yield kubernetes
    subprocess.run([kind_cluster.kind_program(), "delete", "cluster", "--name", name], check=True)


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def theirs(request: pytest.FixtureRequest, cluster: Kubernetes) -> Kubernetes:
    if request.param == "nftables":
        goes_back(cluster, request.param)
    return cluster


def goes_back(kubernetes: Kubernetes, mode: str) -> None:
    """To kube-proxy, in another mode than before, from an agent that serves all."""
    config = kubernetes.get("configmap", "kube-proxy", *SYSTEM)
    config["data"]["config.conf"] = config["data"]["config.conf"].replace("mode: iptables", f"mode: {mode}")
    kubernetes.apply(config)
    kubernetes.kubectl("create", "--filename", KUBE_PROXY_BACKUP)
    kubernetes.rolled_out("daemonset/kube-proxy", *SYSTEM)
    (remove,) = re.findall(r"^## Remove\n\n```sh\n(.+?)```", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    for place in kubernetes.nodes.values():
        place.output("sh", "-euc", remove)
        assert place.run("sh", "-c", "ls -d /opt/socklb /etc/socklb /sys/fs/bpf/socklb").stdout == ""


class KeptConnection:
    """A connection that is older than the hooks: kube-proxy's translation carries it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self) -> str:
        """The server's name and the client's own port."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextlib.contextmanager
def kept_connection(pod: Place, address: str) -> Iterator[KeptConnection]:
    argv = pod.argv("python3", "-c", KEPT, address, "80")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield KeptConnection(process)


def test_in_two_steps_under_load_no_connect_fails_and_no_connection_breaks(theirs: Kubernetes) -> None:
    service = theirs.get("service", "web")["spec"]
    address, node_port = service["clusterIP"], service["ports"][0]["nodePort"]
    node = theirs.nodes[theirs.workers[0]]
    assert node.output("sh", "-c", f"{RULES} | grep -Ec 'KUBE-SERVICES|kube-proxy'") != "0"  # the control
    client = theirs.pod("client")
    with kept_connection(client, address) as kept, hammering(client, address, 80) as load:
        before = kept.ask()
        deploy("adopt", "adopt=yes")
        assert kept.ask() == before
        assert theirs.kubectl("get", *SYSTEM, "daemonset/kube-proxy", "-o", "name")
        deploy("adopt", "adopt=yes", "kube_proxy=remove")
        assert kept.ask() == before
    assert load.failures == {}
    assert sum(load.served.values()) > 100
    assert not theirs.get("daemonsets", *SYSTEM)["items"]
    for place in theirs.nodes.values():
        assert not place.run("sh", "-c", f"{RULES} | grep -E 'KUBE-SERVICES|KUBE-SVC|kube-proxy'").stdout
        status = json.loads(place.output("socklb", "status", "--json"))
        assert status["synced"]
        assert all(hook["effective"] for hook in status["hooks"])
    outside = f"http://{theirs.addresses(theirs.workers[1])[0]}:{node_port}/hostname"
    asked = [SEALED_DOCKER, "run", "curl", "-sS", "--max-time", "5", outside]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert answer in {pod["metadata"]["name"] for pod in theirs.pods("app=web")}


def test_what_is_theirs_is_left_alone(theirs: Kubernetes) -> None:
    for place in theirs.nodes.values():
        assert place.output("ls", "/etc/cni/net.d") == "10-theirs.conflist"
        assert not place.output("ip", "route", "show", "proto", "83")
    assert "taints" in theirs.get("node", f"{name}-control-plane")["spec"]


def test_once_taken_over_another_run_changes_nothing(theirs: Kubernetes) -> None:
    assert changes(deploy("adopt", "adopt=yes", "kube_proxy=remove")) == []
    assert changes(deploy("adopt", "adopt=yes")) == []
