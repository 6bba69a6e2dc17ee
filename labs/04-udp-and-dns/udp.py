"""DNS questions over UDP, from sockets that stay open: what an application sees of a Service.

python3 - sendto 10.96.1.81 53 < udp.py         five questions from one socket that is not connected
python3 - connect 10.96.1.81 53 < udp.py        connects a socket, and leaves it open in a process of its own
python3 - ask < udp.py                          a question through that socket
python3 - close < udp.py                        ends that process
"""

import json
import os
import socket
import struct
import sys

# Recursion desired, one question: whoami.example.test, TXT, class IN.
NAME = b"".join(bytes([len(part)]) + part for part in (b"whoami", b"example", b"test")) + b"\0"
QUESTION = struct.pack("!5H", 0x0100, 1, 0, 0, 0) + NAME + struct.pack("!2H", 16, 1)
CONTROL = "\0lab-04"  # no file: a name in this network namespace, gone with its process


def opened(address: str) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(2)
    return one


def text_of(reply: bytes) -> str:
    text = reply[2 + len(QUESTION) + 12 :]  # after the repeated question: pointer, type, class, lifetime, length
    return text[1 : 1 + text[0]].decode()


def by_sendto(address: str, port: int) -> None:
    with opened(address) as one:
        for number in range(5):
            one.sendto(struct.pack("!H", number) + QUESTION, (address, port))
            reply, sender = one.recvfrom(512)
            print(json.dumps({"local port": one.getsockname()[1], "from": shown(sender), "answer": text_of(reply)}))


def connect(address: str, port: int) -> None:
    tell("close")
    control = socket.socket(socket.AF_UNIX)
    control.bind(CONTROL)
    control.listen()
    one = opened(address)
    one.connect((address, port))
    print(json.dumps(names(one)), flush=True)
    if os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        serve(control, one)


def serve(control: socket.socket, one: socket.socket) -> None:
    while True:
        caller, _ = control.accept()
        with caller:
            if caller.recv(16) == b"close":
                control.close()  # before the caller's end is: then the name is free
                return
            caller.sendall(json.dumps(answered(one)).encode())


def answered(one: socket.socket) -> dict[str, str]:
    try:
        one.send(os.urandom(2) + QUESTION)
        return {**names(one), "answer": text_of(one.recv(512))}
    except OSError as error:
        return {"getsockname": shown(one.getsockname()), "error": str(error)}


def names(one: socket.socket) -> dict[str, str]:
    return {"getsockname": shown(one.getsockname()), "getpeername": shown(one.getpeername())}


def tell(word: str) -> str:
    """What the process with the socket says; nothing where there is none."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(CONTROL)
            caller.sendall(word.encode())
            return caller.recv(4096).decode()  # of `close`: when it has ended
        except OSError:
            return ""


def shown(end: tuple[object, ...]) -> str:
    return f"[{end[0]}]:{end[1]}" if ":" in str(end[0]) else f"{end[0]}:{end[1]}"


act, *to = sys.argv[1:]
if act in ("sendto", "connect"):
    {"sendto": by_sendto, "connect": connect}[act](to[0], int(to[1]))
else:
    said = tell(act)
    print(said or "no socket is open. Next: python3 - connect ADDRESS PORT < udp.py")
