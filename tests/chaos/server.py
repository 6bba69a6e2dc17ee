"""Answers at many addresses with the address that was reached, or by another name. Run as a script in a pod:

    python server.py 10.244.1.20 fd00:10:244:1::20              at PORT
    python server.py web-1:3:4=10.244.1.2=9003                  at another port, by this name

TCP, and MPTCP for who asks for it: a line with the name, then an echo of whatever comes. UDP: the address and what
was sent; a DNS query gets it as a TXT record, whatever number it has.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

PORT = 8080
MPTCP = 262
TXT, INTERNET, TTL = b"\0\x10", b"\0\x01", b"\0\0\0\0"


def listen(selector: selectors.DefaultSelector, word: str) -> None:
    name, address, port = word.split("=") if "=" in word else (word, word, PORT)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind, protocol in ((socket.SOCK_STREAM, MPTCP), (socket.SOCK_DGRAM, 0)):
        server = socket.socket(family, kind, protocol)
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the device may be away for a while
        server.bind((address, int(port)))
        if kind == socket.SOCK_STREAM:
            server.listen(1024)
            selector.register(server, selectors.EVENT_READ, (accept, name.encode()))
        else:
            selector.register(server, selectors.EVENT_READ, (answer, name.encode()))


def accept(selector: selectors.DefaultSelector, server: socket.socket, name: bytes) -> None:
    connection, _ = server.accept()
    connection.setblocking(False)
    connection.sendall(name + b"\n")
    selector.register(connection, selectors.EVENT_READ, (echo, name))


def echo(selector: selectors.DefaultSelector, connection: socket.socket, _: bytes) -> None:
    data = b""
    with contextlib.suppress(OSError):
        data = connection.recv(4096)
        connection.sendall(data)
    if not data:
        selector.unregister(connection)
        connection.close()


def answer(_: selectors.DefaultSelector, server: socket.socket, name: bytes) -> None:
    data, client = server.recvfrom(512)
    is_dns = b"\0" in data  # the counts in every query's header; what a question begins with is its random number
    server.sendto(dns(data, name) if is_dns else name + b" " + data, client)


def dns(query: bytes, name: bytes) -> bytes:
    """Answer a query of one question (RFC 1035, 4.1): the question once more, and one TXT record."""
    question = query[12 : query.index(b"\0", 12) + 5]
    header = query[:2] + b"\x84\x00" + b"\0\1\0\1\0\0\0\0"
    text = bytes([len(name)]) + name
    return header + question + b"\xc0\x0c" + TXT + INTERNET + TTL + len(text).to_bytes(2) + text


def main(words: list[str]) -> None:
    selector = selectors.DefaultSelector()
    for word in words:
        listen(selector, word)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            do, name = key.data
            with contextlib.suppress(OSError):  # of a client that did not wait
                do(selector, key.fileobj, name)


if __name__ == "__main__":
    main(sys.argv[1:])
