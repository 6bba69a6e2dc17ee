"""A place for real sockets: a network namespace without a route out, a cgroup of its own, and servers in it."""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
import pickle
import selectors
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from socklb.agent.connect_check import CGROUP
from socklb.datapath import mounts

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
PORT = 8080
BACKENDS4 = tuple(f"10.244.1.{n}" for n in range(1, 9))
BACKENDS6 = tuple(f"fd00:10:244:1::{n}" for n in range(1, 9))
EVERY_BACKEND = tuple((address, PORT) for address in (*BACKENDS4, *BACKENDS6))
POD = "pod"  # a cgroup below each of the sandbox's two, hooked and not
NODE4, NODE6 = "172.18.0.2", "fd00:172:18::2"


class Sandbox:
    """Runs functions in its namespace, in a hooked cgroup or beside it."""

    def __init__(self, name: str) -> None:
        root = mounts.cgroup2_root(mounts.read_mounts())
        assert root is not None, "no cgroup-v2 hierarchy is mounted"
        self.name = name
        self.base = root / name
        self.cgroup = self.base / "node"
        self.beside = self.base / "beside"
        for directory in (self.base, self.cgroup, self.beside, self.cgroup / POD, self.beside / POD):
            directory.mkdir()
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        for address in (*BACKENDS4, NODE4):
            sh("ip", "-n", name, "address", "add", f"{address}/32", "dev", "lo")
        for address in (*BACKENDS6, NODE6):
            sh("ip", "-n", name, "address", "add", f"{address}/128", "dev", "lo", "nodad")

    def start(self, function: Callable[[], object], *, hooked: bool = True) -> Job:
        """Run a function in a process of its own."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return Job(pid, reading)
        os.close(reading)
        try:
            (self.cgroup if hooked else self.beside).joinpath("cgroup.procs").write_text("0")
            enter_network(self.name)
            result: tuple[str, object] = ("gave", function())
        except BaseException:  # noqa: BLE001 - the parent raises it again
            result = ("raised", traceback.format_exc())
        os.write(writing, pickle.dumps(result))
        os._exit(0)

    def run(self, function: Callable[[], T], *, hooked: bool = True) -> T:
        """Run a function in a process of its own and return its result."""
        return self.start(function, hooked=hooked).result()  # type: ignore[return-value]

    def remove(self) -> None:
        """End what runs inside, and remove everything."""
        cgroups = (self.cgroup / POD, self.beside / POD, self.cgroup, self.beside)
        for directory in cgroups:
            end_all(directory)
        sh("ip", "netns", "delete", self.name)
        for directory in (*cgroups, self.base):
            remove_cgroup(directory)


class Job:
    """A function at work in a sandbox."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self._pipe = pid, pipe

    def result(self) -> object:
        """Wait, and return the function's result."""
        with os.fdopen(self._pipe, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.pid, 0)
        assert data, "the process ended without a result"
        kind, value = pickle.loads(data)
        assert kind == "gave", value
        return value

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._pipe)


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def enter_network(name: str) -> None:
    with Path("/run/netns", name).open() as namespace:
        if ct.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ct.get_errno(), "setns")


def end_all(cgroup: Path) -> None:
    """End what runs in it."""
    for pid in (cgroup / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def remove_cgroup(directory: Path) -> None:
    """Remove it, and the one below it that is left if an agent was killed during its connect check."""
    for _ in range(100):
        try:
            for left in directory.glob(CGROUP):
                left.rmdir()
            directory.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    directory.rmdir()


def serve(at: Sequence[tuple[str, int]] = EVERY_BACKEND) -> None:
    """Answer at these addresses and ports, TCP and UDP, with the address; never returns."""
    selector = selectors.DefaultSelector()
    for address, port in at:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            server = socket.socket(family, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            if kind == socket.SOCK_STREAM:
                server.listen(4096)
            selector.register(server, selectors.EVENT_READ, address.encode())
    while True:
        for key, _ in selector.select():
            with contextlib.suppress(ConnectionError):  # from a client that did not wait for its answer
                _answer(key.fileobj, key.data)  # type: ignore[arg-type]


def _answer(server: socket.socket, name: bytes) -> None:
    if server.type == socket.SOCK_STREAM:
        connection, _ = server.accept()
        with connection:
            connection.sendall(name)
    else:
        _, client = server.recvfrom(100)
        server.sendto(name, client)


def ask_tcp(address: str, port: int, family: int = 0) -> tuple[str, str]:
    """Connect; return the backend's answer and getpeername()'s address and port as text."""
    family = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect((address, port))
        peer = client.getpeername()
        return client.recv(100).decode(), f"{peer[0]} {peer[1]}"


def udp_client(address: str, family: int = 0) -> socket.socket:
    client = socket.socket(family or (socket.AF_INET6 if ":" in address else socket.AF_INET), socket.SOCK_DGRAM)
    client.settimeout(5)
    return client


def ask_udp(client: socket.socket, address: str, port: int) -> tuple[str, str]:
    """Send from an unconnected socket; return the backend's answer and its source as the application sees it."""
    client.sendto(b"?", (address, port))
    data, source = client.recvfrom(100)
    return data.decode(), f"{source[0]} {source[1]}"


@contextlib.contextmanager
def running(sandbox: Sandbox, function: Callable[[], object]) -> Generator[Job]:
    job = sandbox.start(function, hooked=False)
    try:
        yield job
    finally:
        job.kill()


def wait_for_servers(place: Sandbox) -> None:
    def connect() -> None:
        for _ in range(500):
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection((BACKENDS6[-1], PORT), 1).close()
                return
            time.sleep(0.02)
        raise TimeoutError

    place.run(connect, hooked=False)


@contextlib.contextmanager
def mounted_bpffs(directory: Path) -> Generator[Path]:
    """Mount a BPF file system of our own; it is unmounted lazily, because a failed test may hold it open."""
    directory.mkdir(exist_ok=True)
    sh("mount", "-t", "bpf", "-o", "mode=0700", "bpf", str(directory))
    try:
        yield directory
    finally:
        sh("umount", "--lazy", str(directory))
