"""What stands in for agnhost's netexec and its clients: a server that tells who it is, and requests to it.

ask(cluster.pod("client"), Request("http", "10.96.0.200", 80, "hostname"))       # ["e2e-1"]

Answers are texts; an error is its errno's name (ECONNREFUSED), silence is TIMEOUT. One process asks all requests of a
call, one after the other. The server answers HTTP and datagrams at every port alike: `hostname`, `clientip` and
`echo/…`.
"""

import json
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from tests.support.cluster import Place

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
# stdin: a list of [kind, address, port, text, own port, seconds of patience, seconds to wait before]; argv may say that
# silence ends it
CLIENT = """
import errno, json, socket, sys, time

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

answers = []
for request in json.load(sys.stdin):
    answers.append(ask(*request))
    if answers[-1] == "TIMEOUT" and "until-silence" in sys.argv:
        break
print(json.dumps(answers))
"""


class Request(NamedTuple):
    """One request, over a socket of its own. `kind` is http or udp; `own` a fixed source port."""

    kind: str
    address: str
    port: int
    text: str = "hostname"
    own: int = 0
    patience: float = 5.0
    pause: float = 0.0


def ask(place: Place, *requests: Request, hooked: bool = True, to_the_end: bool = True) -> list[str]:
    """Ask from a place and give the answers in their order; unless `to_the_end`, the first silence is the last."""
    words = [] if to_the_end else ["until-silence"]
    done = place.run(["python3", "-Ic", CLIENT, *words], hooked, timeout=120, given=json.dumps(requests))
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def asking(place: Place, requests: Iterable[Request]) -> "subprocess.Popen[str]":
    """Begin to ask; `json.loads(….communicate()[0])` are the answers."""
    argv = place.argv(["python3", "-Ic", CLIENT])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(json.dumps(list(requests)))
    process.stdin.close()
    process.stdin = None
    return process


def serve(place: Place, name: str, addresses: Iterable[str], ports: Iterable[int]) -> "subprocess.Popen[str]":
    """Start a server and come back once it listens."""
    return start(place, SERVER, name, ",".join(addresses), ",".join(map(str, ports)))


def start(place: Place, program: str, *words: str) -> "subprocess.Popen[str]":
    """Start a Python script that says `ready`, and come back then."""
    process = subprocess.Popen(place.argv(["python3", "-Ic", program, *words]), stdout=subprocess.PIPE, text=True)
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
