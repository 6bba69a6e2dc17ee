"""A node between a client and pods, as network namespaces that lead nowhere else.

client (172.31.0.9, fd00:31::9) -- node (172.31.0.2, fd00:31::2) -- bridge cni0 -- pods a and b; far: another node's pod

The names are of this process, so that two runs do not meet. Nothing of the host but the namespaces' names is touched.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from socklb.model import Addresses, pack_address
from tests.packets.programs import PATIENCE, SERVER
from tests.support.waiting import until

CLIENT, NODE, OTHER_NODE = "172.31.0.9", "172.31.0.2", "172.31.0.3"
CLIENT6, NODE6 = "fd00:31::9", "fd00:31::2"
PODS = {"a": "10.244.1.2", "b": "10.244.1.3", "far": "10.244.2.2"}
PODS6 = {"a": "fd00:10:244:1::2", "b": "fd00:10:244:1::3", "far": "fd00:10:244:2::2"}
POD_CIDRS = ["10.244.0.0/16", "fd00:10:244::/48"]
VIRTUAL = ["10.96.0.0/16", "192.0.2.0/24"]
VIRTUAL6 = ["fd00:10:96::/108", "2001:db8::/64"]
CLONE_NEWNET = 0x40000000
ADDRESSES = Addresses(
    services=frozenset(map(pack_address, ("10.96.0.10", "fd00:10:96::a"))),
    nodes=frozenset(map(pack_address, (NODE, NODE6, OTHER_NODE))),
    own=frozenset(map(pack_address, (NODE, NODE6))),
)
NUMBERS = itertools.count()  # of the networks of this process


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """The namespaces, and what runs in them."""

    places = ("node", "client", *PODS)

    def __init__(self, name: str) -> None:
        self.name = name
        self._running: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        """Make it. What fails half way is removed by `remove` too."""
        for place in self.places:
            ip("netns", "add", self.of(place))
            self.run(place, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0")  # addresses work at once
            self.run(place, "ip", "link", "set", "lo", "up")
        self._wire()
        self.run("node", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self._route()
        until(lambda: all(map(self._passes_packets, self.places)))

    def _passes_packets(self, place: str) -> bool:
        """Return whether all devices there do: on a busy machine it takes the kernel seconds to give each its queue."""
        devices = json.loads(self.output(place, "ip", "-json", "link"))
        return all(one["operstate"] in {"UP", "UNKNOWN"} and one["qdisc"] != "noop" for one in devices)

    def of(self, place: str) -> str:
        return f"{self.name}-{place}"

    def _wire(self) -> None:
        self._wire_pods()
        self._wire_outside()

    def _wire_pods(self) -> None:
        # Without an address of its own, a bridge changes to another port's when a port goes; pods send to the old one,
        # over IPv6 for half a minute.
        self.run("node", "ip", "link", "add", "cni0", "address", "02:00:00:00:00:01", "type", "bridge")
        for place in ("a", "b"):
            self._link(place, PODS[place] + "/24", PODS6[place] + "/64")
            self.run("node", "ip", "link", "set", "dev", place, "master", "cni0", "up")
            # With br_netfilter a pod's packet to itself is bridged; CNI's hairpinMode does this.
            self.run("node", "ip", "link", "set", "dev", place, "type", "bridge_slave", "hairpin", "on")
        self._address("node", "cni0", "10.244.1.1/24", "fd00:10:244:1::1/64")

    def _wire_outside(self) -> None:
        self.run("node", "ip", "link", "add", "eth0", "type", "bridge")
        for place, address, address6 in (("client", CLIENT, CLIENT6), ("far", OTHER_NODE, "fd00:31::3")):
            self._link(place, address + "/24", address6 + "/64")
            self.run("node", "ip", "link", "set", "dev", place, "master", "eth0", "up")
        self._address("node", "eth0", NODE + "/24", NODE6 + "/64")
        # A redirect to the client, back where its packet came from, would use up what ICMP it may get in a second.
        redirects = (f"net.ipv4.conf.{scope}.send_redirects=0" for scope in ("all", "eth0"))
        self.run("node", "sysctl", "-q", "-w", *redirects)
        self._address("far", "lo", PODS["far"] + "/32", PODS6["far"] + "/128")

    def _link(self, place: str, *addresses: str, at: str = "node") -> None:
        self._cable(at, place, place, "eth0")
        self._address(place, "eth0", *addresses)

    def _cable(self, place: str, device: str, other: str, its: str) -> None:
        """Join two places by a veth."""
        ends = ("name", device, "type", "veth", "peer", "name", its, "netns", self.of(other))
        self.run(place, "ip", "link", "add", *ends)

    def _address(self, place: str, link: str, *addresses: str) -> None:
        for address in addresses:
            self.run(place, "ip", "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
        self.run(place, "ip", "link", "set", "dev", link, "up")

    def _route(self) -> None:
        for place in ("a", "b"):
            self.run(place, "ip", "route", "add", "default", "via", "10.244.1.1")
            self.run(place, "ip", "-6", "route", "add", "default", "via", "fd00:10:244:1::1")
        for destination in (*VIRTUAL, *VIRTUAL6):
            via = NODE6 if ":" in destination else NODE
            self.run("client", "ip", "route", "add", destination, "via", via)
            # A node has a default route, by which its own packets to virtual addresses find an output.
            self.run("node", "ip", "route", "add", destination, "via", CLIENT6 if ":" in destination else CLIENT)
        self.run("node", "ip", "route", "add", "10.244.2.0/24", "via", OTHER_NODE)
        self.run("node", "ip", "-6", "route", "add", "fd00:10:244:2::/64", "via", "fd00:31::3")
        self.run("far", "ip", "route", "add", "10.244.1.0/24", "via", NODE, "src", PODS["far"])
        self.run("far", "ip", "-6", "route", "add", "fd00:10:244:1::/64", "via", NODE6, "src", PODS6["far"])

    def argv(self, place: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.of(place), *command]

    def run(self, place: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(place, *command), capture_output=True, text=True, timeout=15 * PATIENCE, check=False
        )
        assert not check or done.returncode == 0, f"{place}: {command}: {done.stdout}{done.stderr}"
        return done

    def output(self, place: str, *command: str) -> str:
        return self.run(place, *command).stdout.strip()

    def start(self, place: str, *command: str, ready: str = "") -> subprocess.Popen[bytes]:
        """Start something that ends with the network; wait for the line that says it is ready."""
        process = subprocess.Popen(self.argv(place, *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._running.append(process)
        assert process.stdout is not None
        while ready:
            line = process.stdout.readline().decode()
            assert line, f"{command} ended"
            if ready in line:
                break
        return process

    @contextlib.contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Bring this thread into a namespace for a while: what it opens there stays there."""
        libc = ct.CDLL(None, use_errno=True)
        with (
            Path("/proc/self/task", str(_thread_id()), "ns/net").open() as home,
            Path("/run/netns", self.of(place)).open() as there,
        ):
            assert not libc.setns(there.fileno(), CLONE_NEWNET)
            try:
                yield
            finally:
                assert not libc.setns(home.fileno(), CLONE_NEWNET)

    def remove(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()
        for place in reversed(self.places):
            subprocess.run(["ip", "netns", "delete", self.of(place)], check=False, capture_output=True)


class RoutedNetwork(Network):
    """The same with no bridge between the pods: each veth has the route to its pod, as with the CNI plugin ptp."""

    def _wire_pods(self) -> None:
        for place in ("a", "b"):
            self._link(place, PODS[place] + "/32", PODS6[place] + "/128")
            self._address("node", place, "10.244.1.1/32", "fd00:10:244:1::1/128")
            for gateway, address in (("10.244.1.1", PODS[place]), ("fd00:10:244:1::1", PODS6[place])):
                self.run(place, "ip", "route", "add", gateway, "dev", "eth0")
                self.run("node", "ip", "route", "add", address, "dev", place)


def _thread_id() -> int:
    import threading

    return threading.get_native_id()


def name() -> str:
    return f"socklb-test-pk{os.getpid()}-{next(NUMBERS)}"


@contextlib.contextmanager
def with_servers(kind: type[Network] = Network) -> Iterator[Network]:
    """A network of its own in which every pod answers."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    place = kind(name())
    try:
        place.build()
        for pod, address in PODS.items():
            place.start(pod, sys.executable, "-c", SERVER, pod, address, PODS6[pod], ready="ready")
        yield place
    finally:
        place.remove()
