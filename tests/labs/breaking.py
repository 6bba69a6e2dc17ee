"""Ways to break the datapath of a node: real ones, each undone at the end of its block."""

from collections.abc import Iterator
from contextlib import contextmanager

from inventory.place import Place
from tests.labs.translating import with_chain
from tests.support.cluster import Cluster
from tests.support.waiting import until

LINKS = "/sys/fs/bpf/socklb/v3/links"
END_AGENT = "start-stop-daemon --stop --quiet --pidfile /run/socklb/agent.pid --retry 10"
START_AGENT = (
    "start-stop-daemon --start --background --make-pidfile --pidfile /run/socklb/agent.pid "
    "--output /var/log/socklb.log --startas /usr/local/bin/socklb -- agent"
)
# Without CAP_SYS_PTRACE it may not have another process's socket, and cannot move it.
POOR_AGENT = (
    "start-stop-daemon --quiet --start --background --make-pidfile --pidfile /run/socklb/agent.pid "
    "--startas $(command -v setpriv) -- --bounding-set=-sys_ptrace $(command -v socklb) agent && "
    "for i in $(seq 100); do socklb status >/dev/null && exit; sleep 0.1; done; exit 1"
)
SLICES = "/etc/socklb/manifests/*.yaml"
TRACKS = "add table inet tracks; add chain inet tracks seen { type filter hook prerouting priority 0; }"
WEB, NODE_PORT, NOBODY_S = ("web-1", "web-2", "web-3"), "ip daddr 172.18.0.4 tcp dport 32000", "client-2"


@contextmanager
def hook_detached(cluster: Cluster, hook: str = "connect4") -> Iterator[None]:
    """Without its agent, which would put it back."""
    node = cluster.node("w1")
    node.output("sh", "-c", END_AGENT)
    node.output("rm", f"{LINKS}/{hook}")
    try:
        yield
    finally:
        _start_agent(node)


@contextmanager
def no_reverse_translation(cluster: Cluster) -> Iterator[None]:
    with hook_detached(cluster, "recvmsg4"):
        yield


@contextmanager
def peer_name_wrong(cluster: Cluster) -> Iterator[None]:
    with hook_detached(cluster, "getpeername4"):
        yield


@contextmanager
def wrong_backend(cluster: Cluster) -> Iterator[None]:
    """The tables of the client's node lead the Service to a pod that is none of its own."""
    node = cluster.node("w1")
    other, *web = (cluster.addresses(pod)[0] for pod in (NOBODY_S, *WEB))
    edit = "; ".join(f"s/^( *- ){pod.replace('.', '[.]')}$/\\1{other}/" for pod in web)
    node.output("sh", "-c", f"mkdir /tmp/whole && cp {SLICES} /tmp/whole && sed -Ei '{edit}' {SLICES}")
    try:
        until(lambda: [pod for pod in (other, *web) if f"{pod}:8080" in listed(node)] == [other])
        yield
    finally:
        node.output("sh", "-c", "cp /tmp/whole/* /etc/socklb/manifests/ && rm -r /tmp/whole")
        until(lambda: other not in listed(node))


@contextmanager
def dnat_instead(cluster: Cluster) -> Iterator[None]:
    """No hook translates, and the client's node does it on the packet, to the pod of the third node."""
    address = cluster.addresses("web-3")[0]
    rules = f"type nat hook prerouting priority -100; {NODE_PORT} dnat to {address}:8080"
    with hook_detached(cluster), with_chain(cluster.node("w1"), rules):
        yield


@contextmanager
def conntrack_on(cluster: Cluster) -> Iterator[None]:
    """A rule of somebody else on the client's node, which asks for it."""
    node = cluster.node("w1")
    node.output("nft", f"{TRACKS}; add rule inet tracks seen ct state new counter")
    try:
        yield
    finally:
        node.output("nft", "delete table inet tracks")


@contextmanager
def encapsulated(cluster: Cluster) -> Iterator[None]:
    """Packets between the pods of the client's node and of the third one go through a tunnel of VXLAN."""
    # Longer prefixes than those of the nodes' own routes.
    ends = [("w1", "172.18.0.3", "172.18.0.2", "10.244.0.0/25"), ("cp", "172.18.0.2", "172.18.0.3", "10.244.1.0/25")]
    for name, own, other, pods in ends:
        node = cluster.node(name)
        node.output(*f"ip link add vx up type vxlan id 7 local {own} remote {other} dstport 4789".split())
        node.output(*f"ip route add {pods} dev vx onlink via {other}".split())
    try:
        yield
    finally:
        for name, *_ in ends:
            cluster.node(name).output("ip", "link", "delete", "vx")


@contextmanager
def stale_udp_backend(cluster: Cluster) -> Iterator[None]:
    """The agent may not move an open socket to another pod."""
    node = cluster.node("w1")
    node.output("sh", "-c", END_AGENT)
    node.output("sh", "-c", POOR_AGENT)
    try:
        yield
    finally:
        node.output("sh", "-c", END_AGENT)
        _start_agent(node)


def listed(node: Place) -> str:
    return node.output("socklb", "service", "list", "web", "--wide")


def _start_agent(node: Place) -> None:
    node.output("sh", "-c", f"{START_AGENT} && socklb status --wait 20")
