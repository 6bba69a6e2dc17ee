"""A client of one kind, which asks at random until it is told to end, and writes down what it saw, one JSON line each.

    python -m tests.chaos.client KIND WAY PLACE SEED RATE NODE NODE6

WAY is what is to translate for it, `socket` or `packet`; PLACE where it runs: `client` is outside and asks NodePorts.
A line is an Event of tests/chaos/history.py: what it got is the address of who answered, or the name of an error.
"""

from __future__ import annotations

import errno
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.chaos.services import ALL, PORT, Asked

PATIENCE = 6.0  # seconds until an ask has failed: machines are busy
AGAIN = 1.0  # seconds after which a datagram is sent once more: any may be lost
MPTCP = 262
STREAM_LIFE, STREAM_STEP, STREAM_PATIENCE = 20.0, 0.2, 25.0  # seconds
STREAMS = 6
NODES: dict[str, str] = {}  # the node's address, by family


class SeenError(Exception):
    """Something that is no answer and no error of the kernel."""


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connected(address: str, port: int, protocol: int = 0) -> socket.socket:
    client = socket.socket(family_of(address), socket.SOCK_STREAM, protocol)
    try:
        client.settimeout(PATIENCE)
        client.connect((address, port))
        _expect(client.getpeername()[0], address)
    except BaseException:
        client.close()
        raise
    return client


def _expect(peer: str, asked: str) -> None:
    if peer != asked:
        raise SeenError(f"PEER {peer}")


def tcp(address: str, port: int, protocol: int = 0) -> str:
    with connected(address, port, protocol) as client:
        return client.recv(100).decode().strip()


def mptcp(address: str, port: int) -> str:
    return tcp(address, port, MPTCP)


def udp(address: str, port: int) -> str:
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        return _exchange(client, client.send, client.recv)


class Kept:
    """Connected sockets that are kept, one for each Service: the agent moves them when their backend goes."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def __call__(self, address: str, port: int) -> str:
        key = address, port
        if key not in self._sockets:
            self._sockets[key] = client = socket.socket(family_of(address), socket.SOCK_DGRAM)
            client.connect(key)
        client = self._sockets[key]
        try:
            return _exchange(client, client.send, client.recv)
        except OSError:
            del self._sockets[key]
            client.close()
            raise


class Unconnected:
    """One socket for everybody."""

    def __init__(self) -> None:
        self._sockets = {
            family: socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)
        }

    def __call__(self, address: str, port: int) -> str:
        client = self._sockets[family_of(address)]

        def receive(size: int) -> bytes:
            data, source = client.recvfrom(size)
            self._source = source[0]
            return data

        answer = _exchange(client, lambda data: client.sendto(data, (address, port)), receive)
        _expect(self._source, address)
        return answer


def _exchange(client: socket.socket, send: Callable[[bytes], object], receive: Callable[[int], bytes]) -> str:
    """Ask by a datagram that has a number, and wait for the answer with the same one."""
    question = b"?%d" % random.getrandbits(60)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        send(question)
        again = time.monotonic() + AGAIN
        while (left := again - time.monotonic()) > 0:
            client.settimeout(left)
            try:
                name, _, echoed = receive(200).partition(b" ")
            except TimeoutError:
                break
            if echoed == question:
                return name.decode()
    raise TimeoutError


def dig(address: str, port: int) -> str:
    argv = ["dig", "+short", "+tries=4", "+time=2", "-p", str(port), f"@{address}", "who", "TXT"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:]  # after what it says of tries that were in vain
    if done.returncode or not last:
        raise TimeoutError if "timed out" in done.stdout else SeenError(f"DIG {done.stdout}")
    return last[0].strip('"')


class Stream:
    """A connection that says something now and then and wants to hear it back."""

    def __init__(self, asked: Asked, address: str, port: int) -> None:
        self.asked = asked
        self._socket = connected(address, port)
        self._file = self._socket.makefile("rb")
        self.name = self._file.readline().decode().strip()
        self._socket.settimeout(STREAM_PATIENCE)
        self.end = time.monotonic() + random.uniform(1, STREAM_LIFE)

    def say(self) -> None:
        word = b"%d\n" % random.getrandbits(60)
        self._socket.sendall(word)
        if (heard := self._file.readline()) != word:
            raise SeenError("EOF" if not heard else f"HEARD {heard!r}")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


KINDS: dict[str, Callable[[], Callable[[str, int], str]]] = {
    "tcp": lambda: tcp,
    "mptcp": lambda: mptcp,
    "udp": lambda: udp,
    "udp-kept": Kept,
    "udp-unconnected": Unconnected,
    "dig": lambda: dig,
}


def target(asked: Asked, place: str, kind: str, way: str) -> tuple[str, int]:
    """Where this Service is asked from there.

    An unconnected socket knows it by one name, and no device sees what the node sends to itself: docs/how-it-works.md.
    """
    if kind == "udp-unconnected" or (place == "node" and way == "packet"):
        return asked.cluster_ip, PORT
    node, here = (NODES["4"], "127.0.0.1") if asked.family == "4" else (NODES["6"], "::1")
    ways = {"client": [(node, asked.node_port)], "node": [(here, asked.node_port), (asked.cluster_ip, PORT)]}
    return random.choice(ways.get(place, [(asked.cluster_ip, PORT), (node, asked.node_port)]))


def attempt(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except TimeoutError:
        return "TIMEOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    except SeenError as seen:
        return str(seen)


def asking(kind: str, way: str, place: str, rate: float) -> Iterator[list[object]]:
    ask = KINDS[kind]()
    if kind == "udp-unconnected":
        ask_all(ask)
    while True:
        asked = random.choice(ALL)
        address, port = target(asked, place, kind, way)
        began = time.monotonic()
        answer = attempt(lambda: ask(address, port))  # noqa: B023 - called at once
        ended = time.monotonic()
        yield [began, ended, kind, way, place, asked.number, asked.family, answer]
        time.sleep(max(0.0, 1 / rate - (ended - began)))


def ask_all(ask: Callable[[str, int], str]) -> None:
    """Have an answer of each Service, before any fault.

    Hooks serve the first nine of an unconnected socket. For the others the agent attaches programs to the pod's
    device, and while no agent runs nobody does.
    """
    for asked in ALL:
        while attempt(lambda: ask(asked.cluster_ip, PORT))[:1].isupper():  # an error  # noqa: B023 - called at once
            pass


def streaming(way: str, place: str) -> Iterator[list[object]]:
    streams: list[Stream] = []
    while True:
        if len(streams) < STREAMS:
            asked, began = random.choice(ALL), time.monotonic()

            def opened() -> str:
                streams.append(Stream(asked, *target(asked, place, "stream", way)))  # noqa: B023 - called at once
                return streams[-1].name

            answer = attempt(opened)
            yield [began, time.monotonic(), "stream", way, place, *asked, answer]
        for stream in list(streams):
            began = time.monotonic()
            answer = attempt(lambda: stream.say() or "alive")  # type: ignore[func-returns-value]  # noqa: B023
            if answer != "alive" or time.monotonic() > stream.end:
                stream.close()
                streams.remove(stream)
            yield [began, time.monotonic(), "stream alive", way, place, *stream.asked, answer]
        time.sleep(STREAM_STEP)


def main(kind: str, way: str, place: str, seed: str, rate: str, *nodes: str) -> None:
    NODES.update(zip("46", nodes, strict=True))
    random.seed(f"{seed} {kind} {way} {place}")
    for line in streaming(way, place) if kind == "stream" else asking(kind, way, place, float(rate)):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
