"""A node that is upgraded: a real agent with hooks and packet path, clients in its pods and outside, in namespaces of
their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rig.agents import AgentUnderTest, endpoint_slice
from rig.sandbox import BACKENDS4, BACKENDS6, NODE4, NODE6, Job, Sandbox, enter_network, sh, udp_client
from tests.support.waiting import until

SERVICE4, SERVICE6 = "10.96.0.10", "fd00:10:96::a"
NODE_PORT = 32000
POD_CIDRS = ["10.244.0.0/16", "fd00:10:244::/48"]
LIMIT = 120.0  # seconds; clients end by themselves
ENOUGH = 60  # turns of each client, on a busy machine too
# What earlier versions know of the configuration.
BASIC = ("node", "manifests", "bpffs", "cgroup", "socket")


@dataclass
class Seen:
    """What clients of one kind saw: how often they were answered, and what was wrong."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)

    def look(self, what: str, found: str, valid: str) -> None:
        if found != valid:
            self.wrong.append(f"{what} {found}, not {valid}")


class Agent(AgentUnderTest):
    """An agent whose version can be chosen."""

    keys = (*BASIC, "packet_path", "pod_cidrs", "health_address", "metrics_address")

    def configure(self, **more: str) -> None:
        """Write what this version knows."""
        values = {
            "node": "w1",
            "manifests": str(self.manifests),
            "bpffs": str(self.bpffs),
            "cgroup": str(self.cgroup),
            "socket": str(self.socket),
            "packet_path": True,
            "pod_cidrs": POD_CIDRS,
            "health_address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            **more,
        }
        self.config.write_text("".join(f"{key} = {json.dumps(values[key])}\n" for key in self.keys))

    def become(self, source: Path | None, keys: tuple[str, ...]) -> None:
        """End the present agent, and start one of another version in its place."""
        self.stop()
        self.source, self.keys = source, keys
        self.configure()
        self.start()
        self.until(lambda status: status["synced"])


def served_by(agent: Agent, generation: int) -> set[str]:
    """Have the Service other endpoints; return those over IPv4."""
    first = 2 * generation % 8
    slices = {"web-4": BACKENDS4[first : first + 2], "web-6": BACKENDS6[first : first + 2]}
    agent.write(
        "slices.yaml", *(endpoint_slice(name, *members, generation=generation) for name, members in slices.items())
    )
    return set(slices["web-4"])


class Clients:
    """Clients that ask until they are told to stop."""

    def __init__(self, place: Sandbox, outside: str, stop: Path) -> None:
        self._place, self._outside, self._stop = place, outside, stop
        self._jobs: dict[str, Job] = {}

    def start(self) -> None:
        """Start one of each kind, for both families."""
        for family, service, node in (("IPv4", SERVICE4, NODE4), ("IPv6", SERVICE6, NODE6)):
            kinds: dict[str, Callable[[], Seen]] = {
                "connects of pods": lambda service=service: self._connects(service, 80),
                "connects of the node to a NodePort": lambda node=node: self._connects(node, NODE_PORT),
                "sockets that pods keep": lambda service=service: self._kept(service),
            }
            for kind, ask in kinds.items():
                self._jobs[f"{kind}, {family}"] = self._place.start(ask)
            self._jobs[f"connects from outside, {family}"] = self._place.start(
                lambda node=node: self._from_outside(lambda: self._connects(node, NODE_PORT)), hooked=False
            )
            self._jobs[f"streams from outside, {family}"] = self._place.start(
                lambda node=node: self._from_outside(lambda: self._streams(node, NODE_PORT)), hooked=False
            )

    def stop(self) -> dict[str, Seen]:
        """Return what each kind saw, once each has asked often enough for that to mean something."""
        with contextlib.suppress(AssertionError):  # then it is what they saw that says so
            until(lambda: len([turns for turns in self._turned() if turns > ENOUGH]) == len(self._jobs))
        self._stop.touch()
        return {kind: job.result() for kind, job in self._jobs.items()}  # type: ignore[misc]

    def _turned(self) -> list[int]:
        return [file.stat().st_size for file in self._stop.parent.glob("turns-*")]

    def _from_outside(self, ask: Callable[[], Seen]) -> Seen:
        enter_network(self._outside)
        return ask()

    def _turns(self, seconds: float) -> Iterator[None]:
        end = time.monotonic() + LIMIT
        with (self._stop.parent / f"turns-{os.getpid()}").open("wb", buffering=0) as turns:
            while not self._stop.exists() and time.monotonic() < end:
                yield
                turns.write(b".")
                time.sleep(seconds)

    def _connects(self, address: str, port: int) -> Seen:
        seen = Seen()
        for _ in self._turns(0.003):
            try:
                with socket.create_connection((address, port), 5) as client:
                    seen.look("the peer is", client.getpeername()[0], address)
                    seen.answers += bool(client.recv(100))
            except OSError as error:
                seen.wrong.append(f"{time.monotonic():.2f} {error!r}")
        return seen

    def _streams(self, address: str, port: int) -> Seen:
        """Open a stream now and then, and have all of them echo."""
        seen, streams = Seen(), list[socket.socket]()
        for turn, _ in enumerate(self._turns(0.05)):
            with contextlib.ExitStack() as told:
                told.enter_context(telling(seen))
                if turn % 10 == 0:
                    streams.append(stream := socket.create_connection((address, port), 5))
                    stream.recv(100)
                for stream in streams:
                    stream.send(b"?")
                    seen.answers += bool(stream.recv(100))
                    seen.look("the peer is", stream.getpeername()[0], address)
        return seen

    def _kept(self, address: str) -> Seen:
        """Open sockets now and then, and look at all of them again and again."""
        seen, streams, datagrams = Seen(), list[socket.socket](), list[socket.socket]()
        free = udp_client(address)
        for turn, _ in enumerate(self._turns(0.02)):
            with telling(seen):
                if turn % 25 == 0:
                    streams.append(stream := socket.create_connection((address, 80), 5))
                    stream.recv(100)
                    datagrams.append(datagram := udp_client(address))
                    datagram.connect((address, 80))
                for each in (*streams, *datagrams):
                    seen.answers += bool(asked(each))
                    seen.look(f"the peer ({each.type.name}) is", each.getpeername()[0], address)
                free.sendto(b"?", (address, 80))
                seen.look("an answer came from", free.recvfrom(100)[1][0], address)
        return seen


def asked(client: socket.socket) -> bytes:
    """Ask and return the answer. A datagram in flight may be lost when its socket is moved, and is sent once more."""
    client.send(b"?")
    try:
        return client.recv(100)
    except TimeoutError:
        if client.type == socket.SOCK_STREAM:
            raise
        client.send(b"?")
        return client.recv(100)


@contextlib.contextmanager
def telling(seen: Seen) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        seen.wrong.append(f"{time.monotonic():.2f} {error!r}")


@contextlib.contextmanager
def uplink(place: Sandbox) -> Iterator[str]:
    """Give the sandbox a device to a client outside, in a namespace of its own; yield its name."""
    outside = f"{place.name}-out"
    sh("ip", "netns", "add", outside)
    try:
        sh("ip", "-n", place.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside)
        inside(place.name, "ip link set eth0 up")
        inside(outside, "ip link set lo up && ip link set eth0 up")
        inside(place.name, f"ip address add {NODE4}/24 dev eth0 && ip address add {NODE6}/64 dev eth0 nodad")
        inside(outside, "ip address add 172.18.0.9/24 dev eth0 && ip address add fd00:172:18::9/64 dev eth0 nodad")
        inside(place.name, "ip route add default via 172.18.0.9 && ip -6 route add default via fd00:172:18::9")
        inside(place.name, "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
        yield outside
    finally:
        sh("ip", "netns", "delete", outside)


def inside(network: str, command: str) -> None:
    subprocess.run(["ip", "netns", "exec", network, "sh", "-ec", command], check=True)
