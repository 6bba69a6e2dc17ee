"""What a Service costs, beside asking the same pod itself: connect(), and the request after it.

python3 - 300 10.96.0.10:80 10.244.1.3:8080 10.244.2.3:8080 < compare.py
{"asked": 300, "answered": 300, "connect": {"web-1": 1.31, "web-2": 1.04}, "request": {"web-1": 1.12, "web-2": 1.01}}

In each cycle the Service is asked once and one of the pods once, in random order, so that whoever disturbs the machine
disturbs both alike. Compared are only times with the same pod: a figure is the median by way of the Service, divided by
the median of the pod itself.
"""

import json
import random
import socket
import statistics
import sys
import time
from collections import defaultdict


def ask(address: str, port: int) -> tuple[str, int, int]:
    """Return who answered, and the nanoseconds of connect() and of the request."""
    with socket.socket() as one:
        one.settimeout(2)
        started = time.perf_counter_ns()
        one.connect((address, port))
        connected = time.perf_counter_ns()
        one.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while part := one.recv(4096):
            said += part
        done = time.perf_counter_ns()
    return said.decode().split()[-1], connected - started, done - connected


def ratio(service: list[int], pod: list[int]) -> float:
    return round(statistics.median(service) / statistics.median(pod), 2)


def end(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


cycles, service, pods = int(sys.argv[1]), end(sys.argv[2]), [end(word) for word in sys.argv[3:]]
# By pod and by whom was asked: the times of connect() and of the request.
times: dict[str, dict[bool, tuple[list[int], list[int]]]] = defaultdict(lambda: {True: ([], []), False: ([], [])})
answered = 0
for _ in range(cycles):
    turns = [(True, service), (False, random.choice(pods))]
    random.shuffle(turns)
    for is_service, target in turns:
        who, connect, request = ask(*target)
        times[who][is_service][0].append(connect)
        times[who][is_service][1].append(request)
        answered += is_service
figures = {
    name: {pod: ratio(of[True][i], of[False][i]) for pod, of in sorted(times.items()) if of[True][i] and of[False][i]}
    for i, name in enumerate(("connect", "request"))
}
print(json.dumps({"asked": cycles, "answered": answered, **figures}))
