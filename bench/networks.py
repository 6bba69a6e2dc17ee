"""Two nodes, their pods and a client outside: network namespaces without names and without a route out.

    site = Site.make(opened)
    run_in(site.node, "nft", "-f", "-", text=rules)

    outside 172.20.1.2 -- node 172.20.1.1 -- 172.20.2.2 far_node
                            | | |                        |
            client 10.244.1.2 | unhooked 10.244.4.2      there 10.244.3.10 to 13
                              here 10.244.2.10 to 13

A namespace exists as long as a descriptor or a process holds it, so nothing is left of it when the bench ends, however
it ends. Neighbours are static, so that no figure includes ARP.
"""

from __future__ import annotations

import ctypes as ct
import os
import subprocess
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

POD_DEVICES = ("client", "unhooked", "here", "there")  # of both nodes
OUTSIDE, NODE = "172.20.1.2", "172.20.1.1"
NODE_LAN, FAR_NODE = "172.20.2.1", "172.20.2.2"
CLIENT, UNHOOKED = "10.244.1.2", "10.244.4.2"
HERE = tuple(f"10.244.2.{n}" for n in range(10, 14))
THERE, THERE_NETWORK = tuple(f"10.244.3.{n}" for n in range(10, 14)), "10.244.3.0/24"
SERVER_PORT = 8080  # as in worker/worker.h
CLONE_NEWNET = 0x40000000

SETTINGS = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.tcp_no_metrics_save=1")
NODE_SETTINGS = ("net.ipv4.ip_forward=1",)
# Entries of ended connections must not pile up: some 10,000 come each second.
CONNTRACK_SETTINGS = (
    "net.netfilter.nf_conntrack_tcp_timeout_close=1",
    "net.netfilter.nf_conntrack_udp_timeout=3",
    "net.netfilter.nf_conntrack_udp_timeout_stream=10",
)


class End(NamedTuple):
    """One end of a link: the namespace, its device there, addresses in a /24."""

    network: int
    device: str
    addresses: Sequence[str]


class Site(NamedTuple):
    """Descriptors of the namespaces: `client`, `unhooked` and `here` are pods of `node`, `there` is of `far_node`."""

    outside: int
    node: int
    far_node: int
    client: int
    unhooked: int
    here: int
    there: int

    @classmethod
    def make(cls, opened: ExitStack) -> Self:
        """Make the namespaces and what connects them, until `opened` is closed."""
        site = cls(*(new_network(opened) for _ in cls._fields))
        for network in site:
            run_in(network, "sysctl", "-qw", *SETTINGS)
        for node in site.nodes:
            run_in(node, "sysctl", "-qw", *NODE_SETTINGS)
        connect(End(site.outside, "eth0", (OUTSIDE,)), End(site.node, "out", (NODE,)))
        connect(End(site.node, "lan", (NODE_LAN,)), End(site.far_node, "lan", (FAR_NODE,)))
        site._add_pods()
        ip(site.outside, f"route add default via {NODE}")
        ip(site.node, f"route add default via {OUTSIDE}")  # as a node has: without one, every pod gets programs
        ip(site.far_node, f"route add default via {NODE_LAN}")
        ip(site.node, f"route add {THERE_NETWORK} via {FAR_NODE}")
        return site

    @property
    def nodes(self) -> tuple[int, int]:
        """Both of them."""
        return self.node, self.far_node

    def _add_pods(self) -> None:
        pods = (
            (self.node, self.client, (CLIENT,)),
            (self.node, self.unhooked, (UNHOOKED,)),
            (self.node, self.here, HERE),
            (self.far_node, self.there, THERE),
        )
        for name, (node, pod, addresses) in zip(POD_DEVICES, pods, strict=True):
            connect(End(pod, "eth0", addresses), End(node, name, (gateway(addresses[0]),)))
            ip(pod, f"route add default via {gateway(addresses[0])}")


def gateway(address: str) -> str:
    """Return the node's address in a pod's network."""
    return f"{address.rpartition('.')[0]}.1"


def run_in(network: int, *command: str, text: str = "", also: Sequence[int] = ()) -> None:
    """Run a command in a namespace, with `text` on its standard input."""
    inside = ("nsenter", f"--net={_file(network)}", *command)
    done = subprocess.run(
        inside, input=text, capture_output=True, text=True, pass_fds=(network, *also), timeout=900, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr[-2000:]}")


@contextmanager
def inside(network: int) -> Generator[None]:
    """Move this thread into a namespace for a while."""
    libc = ct.CDLL(None, use_errno=True)
    with Path("/proc/self/task", str(threading.get_native_id()), "ns/net").open() as home:
        if libc.setns(network, CLONE_NEWNET):
            raise OSError(ct.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


def new_network(opened: ExitStack) -> int:
    """Let a process make a namespace, and keep it by a descriptor."""
    command = ("unshare", "--net", "sh", "-c", "ip link set lo up && echo made && read -r _ || true")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        if maker.stdout is None or not maker.stdout.readline():
            raise RuntimeError("no network namespace could be made: is this root?")
        network = os.open(f"/proc/{maker.pid}/ns/net", os.O_RDONLY)
    opened.callback(os.close, network)
    return network


def connect(near: End, far: End) -> None:
    """Connect two ends by a veth pair, and tell each the link address of the other."""
    links = ("02:00:00:00:00:02", "02:00:00:00:00:01")
    ip(
        near.network,
        f"link add {near.device} address {links[0]} type veth"
        f" peer name {far.device} address {links[1]} netns {_file(far.network)}",
        also=(far.network,),
    )
    for (network, device, addresses), peer, peer_link in ((near, far, links[1]), (far, near, links[0])):
        ip(
            network,
            *(f"address add {address}/24 dev {device}" for address in addresses),
            f"link set {device} up",
            *(f"neighbour add {address} lladdr {peer_link} dev {device}" for address in peer.addresses),
        )


def ip(network: int, *lines: str, also: Sequence[int] = ()) -> None:
    """Run commands of `ip` in a namespace."""
    run_in(network, "ip", "-batch", "-", text="\n".join(lines), also=also)


def _file(network: int) -> str:
    return f"/proc/self/fd/{network}"
