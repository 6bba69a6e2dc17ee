"""What runs in the namespaces: a server that tells who it is and whom it sees, and clients. Each is a Python script."""

import itertools
import os
import sys

# Seconds that a client waits for an answer: 2, or more on emulated kernels, as in rig/agents.py.
PATIENCE = float(os.environ.get("SOCKLB_TEST_WAIT", "20")) / 10

SERVER = """
import selectors, socket, sys
name = sys.argv[1]
selector = selectors.DefaultSelector()
for address in sys.argv[2:]:  # not any address: a datagram's reply comes from where it was sent to
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        server = socket.socket(family, kind)
        server.bind((address, 8080))
        if kind == socket.SOCK_STREAM:
            server.listen(1024)
        selector.register(server, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj.type == socket.SOCK_STREAM:
            connection, client = key.fileobj.accept()
            with connection:
                connection.sendall(f"{name} {client[0]}".encode())
        else:
            _, client = key.fileobj.recvfrom(100)
            key.fileobj.sendto(f"{name} {client[0]}".encode(), client)
"""
# argv: tcp or udp, address, port, how often, own port (0: any), the first port of datagrams without one; prints an
# answer or an error a line.
_CLIENT = f"""
import errno, socket, sys
kind, address, port, times, own, fresh = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for number in range(times):
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as client:
        client.settimeout({PATIENCE} + (times > 1))
        if own:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also while an earlier connection rests
        if own or kind == "udp":
            client.bind(("", own or fresh + number))
        try:
            client.connect((address, port))
            if kind == "udp":
                client.send(b"?")
            print(client.recv(100).decode())
        except TimeoutError:
            print("TIMEOUT")
        except OSError as error:
            print(errno.errorcode[error.errno])
"""
_MOST = 200
_fresh = itertools.cycle(range(10000, 60000, _MOST))


def asking(address: str, port: int, kind: str, times: int = 1, own: int = 0) -> list[str]:
    """Return the command of a client that asks so many times and prints an answer or an error a line.

    Datagrams come from ports that none had before: one that the kernel chose could be that of an earlier flow, whose
    endpoint it would get.
    """
    assert times <= _MOST
    return [sys.executable, "-c", _CLIENT, kind, address, *map(str, (port, times, own, next(_fresh)))]
