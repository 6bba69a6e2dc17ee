"""Load on a Service from a pod: fresh connections from many threads until told to end; every failure is counted.

with hammering(pod, "10.96.0.80", 80) as load:
    …
assert load.failures == {}
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator

from inventory.place import Place

CLIENTS = 8
STOP = "/tmp/hammer.stop"
# argv: address, port, clients, the file that ends it. Prints "ready" after the first answer, at the end the counts.
SCRIPT = """
import collections, errno, json, os, socket, sys, threading, time
address, port, clients, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
served, failures, told = collections.Counter(), collections.Counter(), threading.Event()

def ask():
    with socket.create_connection((address, port), 10) as client:
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while data := client.recv(4096):
            answer += data
    return answer.split()[-1].decode() if answer else "nothing"

def run():
    while not os.path.exists(stop):
        try:
            served[ask()] += 1
            told.set()
        except OSError as error:
            failures[errno.errorcode.get(error.errno, type(error).__name__)] += 1
        time.sleep(0.02)

threads = [threading.Thread(target=run) for _ in range(clients)]
for thread in threads:
    thread.start()
told.wait(30)
print("ready", flush=True)
for thread in threads:
    thread.join()
print(json.dumps([served, failures]))
"""


class Load:
    """What came of it; filled when the block has ended."""

    served: dict[str, int]
    failures: dict[str, int]


@contextlib.contextmanager
def hammering(pod: Place, address: str, port: int) -> Iterator[Load]:
    """Run the load while the block runs."""
    pod.output("rm", "-f", STOP)
    argv = pod.argv("python3", "-c", SCRIPT, address, str(port), str(CLIENTS), STOP)
    load = Load()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield load
            time.sleep(1)  # what a change breaks may show a moment later
        finally:
            pod.output("touch", STOP)
            told = process.stdout.read()
        load.served, load.failures = json.loads(told)
