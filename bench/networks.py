"""A client pod, a node and a server pod: network namespaces without names and without a route out.

    path = Path.make(opened)
    run_in(path.node, "nft", "-f", "-", text=rules)

A namespace lives as long as a descriptor or a process has it, so nothing is left of it when the bench ends, however it
ends. Neighbours are static, so that no ARP is in a figure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple, Self

CLIENT = "10.244.1.2"
SERVERS = ("10.244.2.10", "10.244.2.11", "10.244.2.12", "10.244.2.13")
SERVER_PORT = 8080  # as in worker/worker.h
CLIENT_GATEWAY, SERVER_GATEWAY = "10.244.1.1", "10.244.2.1"
POD_LINK, NODE_LINK = "02:00:00:00:00:02", "02:00:00:00:00:01"

SETTINGS = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.tcp_no_metrics_save=1")
NODE_SETTINGS = ("net.ipv4.ip_forward=1",)
# Entries of ended connections must not pile up: some 10,000 come each second.
CONNTRACK_SETTINGS = (
    "net.netfilter.nf_conntrack_tcp_timeout_close=1",
    "net.netfilter.nf_conntrack_udp_timeout=3",
    "net.netfilter.nf_conntrack_udp_timeout_stream=10",
)


class Path(NamedTuple):
    """Descriptors of three namespaces; packets go from client to server through the node, where rules may be."""

    client: int
    node: int
    server: int

    @classmethod
    def make(cls, opened: ExitStack) -> Self:
        """Make the namespaces and what connects them, until `opened` is closed."""
        path = cls(*(_new_network(opened) for _ in range(3)))
        for network in path:
            run_in(network, "sysctl", "-qw", *SETTINGS)
        run_in(path.node, "sysctl", "-qw", *NODE_SETTINGS)
        path._connect(path.client, "client", CLIENT_GATEWAY, (CLIENT,))
        path._connect(path.server, "server", SERVER_GATEWAY, SERVERS)
        return path

    def _connect(self, pod: int, name: str, gateway: str, addresses: Sequence[str]) -> None:
        """Give a pod eth0, whose other end in the node is `name`."""
        _ip(
            pod,
            f"link add eth0 address {POD_LINK} type veth peer name {name} address {NODE_LINK} netns {_file(self.node)}",
            *(f"address add {address}/24 dev eth0" for address in addresses),
            "link set eth0 up",
            f"neighbour add {gateway} lladdr {NODE_LINK} dev eth0",
            also=(self.node,),
        )
        _ip(
            self.node,
            f"address add {gateway}/24 dev {name}",
            f"link set {name} up",
            *(f"neighbour add {address} lladdr {POD_LINK} dev {name}" for address in addresses),
        )
        _ip(pod, f"route add default via {gateway}")


def run_in(network: int, *command: str, text: str = "", also: Sequence[int] = ()) -> None:
    """Run a command in a namespace, with `text` on its standard input."""
    inside = ("nsenter", f"--net={_file(network)}", *command)
    done = subprocess.run(
        inside, input=text, capture_output=True, text=True, pass_fds=(network, *also), timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr[-2000:]}")


def _new_network(opened: ExitStack) -> int:
    """Let a process make a namespace, and keep that by a descriptor."""
    command = ("unshare", "--net", "sh", "-c", "ip link set lo up && echo made && read -r _ || true")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        if maker.stdout is None or not maker.stdout.readline():
            raise RuntimeError("no network namespace could be made: is this root?")
        network = os.open(f"/proc/{maker.pid}/ns/net", os.O_RDONLY)
    opened.callback(os.close, network)
    return network


def _ip(network: int, *lines: str, also: Sequence[int] = ()) -> None:
    run_in(network, "ip", "-batch", "-", text="\n".join(lines), also=also)


def _file(network: int) -> str:
    return f"/proc/self/fd/{network}"
