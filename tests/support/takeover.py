"""A cluster to take over, in tests: a network and a kube-proxy of somebody else, and connections to keep."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator

from inventory.place import Place
from roles.kubectl import Nodes
from roles.pods.operations import conflist
from tests.support.cluster import ROOT
from tests.support.kubernetes import Kubernetes

OPERATIONS = ROOT / "docs" / "operations.md"
RULES = "{ iptables-save; ip6tables-save; nft list ruleset; } 2>/dev/null"
KUBE_PROXYS = f"{RULES} | grep -E 'KUBE-SERVICES|KUBE-SVC|kube-proxy'"
# Keeps one connection: a request for each line that it reads.
KEPT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
for line in sys.stdin:
    connection.request("GET", "/hostname")
    print(connection.getresponse().read().decode(), connection.sock.getsockname()[1], flush=True)
"""


def their_network(kubernetes: Kubernetes) -> None:
    """Give pods a network under another name than ours, and nodes the routes to it."""
    nodes = Nodes().process([json.dumps(kubernetes.get("nodes"))])
    for node, place in kubernetes.nodes.items():
        text = conflist(nodes[node]["pod_cidrs"])
        place.output("sh", "-c", "mkdir -p /etc/cni/net.d && cat >/etc/cni/net.d/10-theirs.conflist", given=text)
        for other, found in nodes.items():
            for cidr, gateway in zip(found["pod_cidrs"], found["addresses"], strict=True):
                if other != node:
                    place.output("ip", "route", "add", cidr, "via", gateway)
    kubernetes.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")


def remove_socklb(kubernetes: Kubernetes) -> None:
    """As the documentation says."""
    (remove,) = re.findall(r"^## Remove\n\n```sh\n(.+?)```", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    for place in kubernetes.nodes.values():
        place.output("sh", "-euc", remove)
        assert place.run("sh", "-c", "ls -d /opt/socklb /etc/socklb /sys/fs/bpf/socklb").stdout == ""


def assert_taken_over(kubernetes: Kubernetes) -> None:
    """No kube-proxy is left, nor any rule of one, and the agents serve."""
    assert not kubernetes.get("daemonsets", "--namespace", "kube-system")["items"]
    for place in kubernetes.nodes.values():
        assert not place.run("sh", "-c", KUBE_PROXYS).stdout
        status = json.loads(place.output("socklb", "status", "--json"))
        assert status["synced"]
        assert all(hook["effective"] for hook in status["hooks"])


@contextlib.contextmanager
def without_rules_of_others(node: Place) -> Iterator[None]:
    """On this node kube-proxy's rules are the last that translate: not even docker's own, for its DNS, are there."""
    translate = "iptables-save | grep -E -- '-j (DNAT|SNAT|MASQUERADE)' | grep -v KUBE-"
    theirs = node.output("sh", "-c", translate).splitlines()
    assert theirs, "the control"
    node.output("sh", "-euc", "\n".join(f"iptables -t nat {rule.replace('-A', '-D', 1)}" for rule in theirs))
    try:
        yield
    finally:
        node.output("sh", "-euc", "\n".join(f"iptables -t nat {rule}" for rule in theirs))


@contextlib.contextmanager
def with_a_rule_that_iptables_cannot_read(node: Place) -> Iterator[None]:
    """In the table of kube-proxy's rules, put in by nft."""
    node.output("nft", "add chain ip nat strange; add rule ip nat strange tcp dport 9 dnat to 127.0.0.1:10-20")
    try:
        assert "incompatible" in node.output("iptables-save")
        yield
    finally:
        node.output("nft", "delete chain ip nat strange")


class KeptConnection:
    """A connection that is older than the hooks: kube-proxy's translation carries it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
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
