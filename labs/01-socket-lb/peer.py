"""What an application sees of a Service: whom it is connected to (TCP), or who its reply comes from (UDP, unconnected).

python3 - tcp 10.96.0.10 80 < peer.py        {"asked": "10.96.0.10:80", "peer": "10.96.0.10:80", "answer": "web-2"}
python3 - udp 10.96.0.53 53 < peer.py        {"asked": "10.96.0.53:53", "peer": "10.96.0.53:53", "answer": "dns-1"}
"""

import json
import socket
import struct
import sys

# A DNS question by hand, so that only Python is needed: number 1, recursion desired, one question, TXT, class IN.
NAME = b"".join(bytes([len(part)]) + part for part in (b"whoami", b"example", b"test")) + b"\0"
QUESTION = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + NAME + struct.pack("!2H", 16, 1)


def by_tcp(address: str, port: int) -> tuple[str, str]:
    with socket.create_connection((address, port), timeout=2) as connection:
        peer = connection.getpeername()
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return shown(peer), connection.makefile("rb").read().decode().split()[-1]


def by_udp(address: str, port: int) -> tuple[str, str]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as unconnected:
        unconnected.settimeout(2)
        unconnected.sendto(QUESTION, (address, port))
        reply, sender = unconnected.recvfrom(512)
    text = reply[len(QUESTION) + 12 :]  # after the repeated question: pointer, type, class, lifetime, length
    return shown(sender), text[1 : 1 + text[0]].decode()


def shown(end: tuple[object, ...]) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in str(end[0]) else f"{end[0]}:{end[1]}"


protocol, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
peer, answer = {"tcp": by_tcp, "udp": by_udp}[protocol](address, port)
print(json.dumps({"asked": shown((address, port)), "peer": peer, "answer": answer}))
