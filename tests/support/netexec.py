"""What stands in for agnhost's netexec and its clients: a server that tells who it is, and requests to it.

ask(cluster.pod("client"), Request("http", "10.96.0.200", 80, "hostname"))       # ["e2e-1"]

Answers are texts; an error is its errno's name (ECONNREFUSED), silence is TIMEOUT. One process in each place asks all
requests, each over a socket of its own: those of a call one after the other, or `ask_at_once`. The server answers HTTP
and datagrams at every port alike: `hostname`, `clientip` and `echo/…`.
"""

import json
import os
import select
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

from inventory.place import Place
from tests.support import workers

How = Literal["in turn", "until silence", "at once"]

# argv: name, addresses with commas, ports with commas. Not the unspecified address: a reply to a datagram comes from
# where it was sent to.
SERVER = """
import socket, socketserver, sys, threading
name, addresses, ports = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")

def answer(asked, client):
    word, _, rest = asked.strip("/\\n").partition("/")
    return {"hostname": name, "clientip": client, "echo": rest}.get(word, "?")

class Http(socketserver.StreamRequestHandler):
    timeout = 5
    def handle(self):
        line = self.rfile.readline(65536).decode().split()
        while self.rfile.readline(65536).strip():
            pass
        if line:
            text = answer(line[1], self.client_address[0])
            self.wfile.write(f"HTTP/1.0 200 OK\\r\\nContent-Length: {len(text)}\\r\\n\\r\\n{text}".encode())

class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, server = self.request
        server.sendto(answer(data.decode(), self.client_address[0]).encode(), self.client_address)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, request_queue_size, daemon_threads = True, 256, True

for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for base, handler in ((Server, Http), (socketserver.UDPServer, Datagram)):
        kind = type(base.__name__, (base,), {"address_family": family})
        for port in ports:
            threading.Thread(target=kind((address, int(port)), handler).serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
# A request is [kind, address, port, text, own port, seconds of patience, seconds to wait before].
REQUESTS = """
import errno, json, select, socket, sys, threading, time

def ask(kind, address, port, text, own, patience, pause):
    time.sleep(pause)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as client:
        client.settimeout(patience)
        if own:
            client.bind(("", own))
        try:
            client.connect((address, port))
            if kind == "udp":
                client.send(text.encode())
                return client.recv(65536).decode()
            client.sendall(f"GET /{text} HTTP/1.0\\r\\n\\r\\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
            return answer.partition("\\r\\n\\r\\n")[2]
        except TimeoutError:
            return "TIMEOUT"
        except OSError as error:
            return errno.errorcode[error.errno]
"""
CLIENT = (
    REQUESTS
    + """
def answer(question):
    requests, how = question
    answers = [None] * len(requests)
    def one(number):
        answers[number] = ask(*requests[number])
    if how == "at once":
        threads = [threading.Thread(target=one, args=[number]) for number in range(len(requests))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return answers
    for number in range(len(requests)):
        one(number)
        if answers[number] == "TIMEOUT" and how == "until silence":
            return answers[:number + 1]
    return answers
"""
)
# stdin: a request, which is asked again and again until stdin ends.
AGAIN_AND_AGAIN = (
    REQUESTS
    + """
request = json.loads(sys.stdin.readline())
while not select.select([sys.stdin], [], [], 0)[0]:
    print(ask(*request), flush=True)
"""
)


class Request(NamedTuple):
    """One request, over a socket of its own. `kind` is http or udp; `own` a fixed source port."""

    kind: str
    address: str
    port: int
    text: str = "hostname"
    own: int = 0
    patience: float = 5.0
    pause: float = 0.0


def ask(place: Place, *requests: Request, hooked: bool = True, how: How = "in turn") -> list[str]:
    """Ask from a place and give the answers in their order; "until silence", the first silence is the last."""
    answers: list[str] = workers.answer(place, CLIENT, [requests, how], hooked)
    return answers


def ask_at_once(*asked: tuple[Place, Request]) -> list[str]:
    """Ask several things, also of several places, at once, so that silences pass together; the answers in order."""
    places = list(dict.fromkeys(place for place, _ in asked))

    def of(place: Place) -> Iterator[str]:
        return iter(ask(place, *(request for asking, request in asked if asking == place), how="at once"))

    with ThreadPoolExecutor(len(places)) as pool:
        answers = dict(zip(places, pool.map(of, places), strict=True))
    return [next(answers[place]) for place, _ in asked]


class Asking:
    """A client that asks the same again and again, until it is ended."""

    def __init__(self, place: Place, request: Request) -> None:
        """Come back when it had its first answer."""
        argv = place.argv("python3", "-Ic", AGAIN_AND_AGAIN)
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._told = b""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self.goes_on(1)

    def goes_on(self, times: int) -> None:
        """Wait until it had so many answers more."""
        while self._read(0):
            continue
        wanted = self._told.count(b"\n") + times
        while self._told.count(b"\n") < wanted:
            assert self._read(30), "it ended or had no answer in 30 s"

    def end(self) -> list[str]:
        """All that it was answered."""
        told, _ = self._process.communicate(timeout=30)
        return (self._told + told).decode().splitlines()

    def _read(self, patience: float) -> bytes:
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        new = os.read(self._process.stdout.fileno(), 65536) if ready else b""
        self._told += new
        return new


def serve(place: Place, name: str, addresses: Iterable[str], ports: Iterable[int]) -> "subprocess.Popen[str]":
    """Start a server and come back once it listens."""
    return start(place, SERVER, name, ",".join(addresses), ",".join(map(str, ports)))


def start(place: Place, program: str, *words: str) -> "subprocess.Popen[str]":
    """Start a Python script that says `ready`, and come back then."""
    process = subprocess.Popen(place.argv("python3", "-Ic", program, *words), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.readline()
    if said != "ready\n":
        end(process)
        raise RuntimeError(f"a server with {words} said {said!r} instead of being ready")
    return process


def end(process: "subprocess.Popen[str]") -> None:
    """End a server; the one in the node ends with the local command."""
    process.terminate()
    process.wait(10)
    assert process.stdout
    process.stdout.close()
