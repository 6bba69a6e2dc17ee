"""Connects to Services as often as it is told, from a pod: `python -m bench.peers.client`.

Reads one JSON object a line and answers each with one:

    {"each": [ADDRESS, ...], "limit": SECONDS}
        {"at": MONOTONIC, "failed": N}: each has answered, some perhaps after connects that failed
    {"load": ADDRESS, "port": PORT}
        {"begun": true}, then, after one more line: {"milliseconds": [of each connect, ...], "failed": N}
    {"until": ADDRESS, "right": [BACKEND, ...], "limit": SECONDS}
        {"begun": true}: one connect is made
        {"at": MONOTONIC, "failed": N, "made": N}: one of these backends has answered
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable
from typing import Any

PORT = 80
PAUSE = 0.001  # seconds
RESET = struct.pack("ii", 1, 0)  # no TIME_WAIT: ports must not run out


def ask(address: str, limit: float, port: int = PORT) -> str:
    """Return the address of the backend that answers, or nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.settimeout(limit)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.connect((address, port))
            return one.recv(64).decode()
    except OSError:
        return ""


def each(addresses: Iterable[str], limit: float) -> dict[str, Any]:
    """Connect to each until it has answered."""
    failed = 0
    for address in addresses:
        while not ask(address, limit):
            failed += 1
            time.sleep(PAUSE)
    return {"at": time.monotonic(), "failed": failed}


def until(address: str, right: frozenset[str], limit: float) -> dict[str, Any]:
    """Connect until one of the right backends has answered."""
    made = failed = 0
    while (backend := ask(address, limit)) not in right:
        made, failed = made + 1, failed + (not backend)
        if made == 1:
            say({"begun": True})
        time.sleep(PAUSE)
    return {"at": time.monotonic(), "failed": failed, "made": made + 1}


def load(address: str, port: int) -> dict[str, Any]:
    """Connect without a pause until the next line comes."""
    milliseconds: list[float] = []
    failed = 0
    say({"begun": True})
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.monotonic()
        failed += not ask(address, 2.0, port)
        milliseconds.append(round(1000 * (time.monotonic() - began), 3))
    return {"milliseconds": milliseconds, "failed": failed}


def say(answer: dict[str, Any]) -> None:
    """Write a line."""
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Do what each line says."""
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "each" in asked:
            say(each(asked["each"], asked["limit"]))
        elif "load" in asked:
            say(load(asked["load"], asked["port"]))
            sys.stdin.readline()
        else:
            say(until(asked["until"], frozenset(asked["right"]), asked["limit"]))


main()
