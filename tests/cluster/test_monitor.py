"""`socklb monitor` on a node: what its pods ask, by which process, and where they are led."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from inventory.place import Place
from tests.support.cluster import Cluster

WAIT = 20.0


@contextmanager
def monitor(node: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Watch from when the heading is there, or, as JSON, from when the agent says so."""
    argv = node.argv("socklb", "monitor", *arguments)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def programs(node: Place) -> list[int]:
    return [hook["program_id"] for hook in json.loads(node.output("socklb", "status", "--json"))["hooks"]]


def test_a_pod_that_connects_is_seen_with_its_process_and_its_backend(cluster: Cluster) -> None:
    node, client = cluster.node("w1"), cluster.pod("client")
    backends = {f"{cluster.addresses(f'web-{n}')[0]}:8080": f"web-{n}" for n in (1, 2, 3)}
    plain = programs(node)
    with monitor(node, "--service", "web", "--hook", "connect", "--count", "2") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("TIME")
        assert not set(programs(node)) & set(plain)
        answers = [client.output("curl", "-s", "--max-time", "5", "http://10.96.0.10/") for _ in range(2)]
        lines = process.communicate(timeout=WAIT)[0].splitlines()
        assert process.returncode == 0
    assert len(lines) == 2
    for line, answer in zip(lines, answers, strict=True):
        _, pod, who, hook, protocol, asked, verdict, backend, why, service = line.split()
        assert (pod, hook, protocol, asked) == ("/pods/client", "connect4", "TCP", "10.96.0.10:80")
        assert (verdict, backends[backend], why, service) == ("translated", answer, "random", "default/web")
        assert who.endswith("/curl")
    assert programs(node) == plain


def test_a_process_of_a_node_in_a_container_has_the_number_that_it_has_there(cluster: Cluster) -> None:
    node = cluster.node("w1")
    asks = (
        "import socket, time, os; print(os.getpid()); s = socket.create_connection(('10.96.0.10', 80)); time.sleep(5)"
    )
    with monitor(node, "--service", "web", "--hook", "connect", "--count", "1") as process:
        assert process.stdout is not None
        process.stdout.readline()
        asking = subprocess.Popen(cluster.pod("client").argv("python3", "-uc", asks), stdout=subprocess.PIPE, text=True)
        with asking:
            line = process.communicate(timeout=WAIT)[0]
            asking.kill()
            assert asking.stdout is not None
            number = asking.stdout.readline().strip()
    assert line.split()[2] == f"{number}/python3"


def test_what_a_node_refuses_is_seen_with_the_reason(cluster: Cluster) -> None:
    node, client = cluster.node("w1"), cluster.pod("client")
    with monitor(node, "--verdict", "refused", "--json", "--count", "1", "--since", "0") as process:
        for _ in range(100):
            if client.run("curl", "-s", "--max-time", "5", "http://10.96.0.10:81/").returncode != 7:
                raise AssertionError("curl was not refused")
            if process.poll() is not None:
                break
        (line,) = process.communicate(timeout=WAIT)[0].splitlines()
    row = json.loads(line)
    assert (row["asked"], row["reason"]) == ("10.96.0.10:81", "no such port")
    assert (row["service"], row["cgroup"], row["command"]) == ("default/web", "/pods/client", "curl")
