"""The agent killed, restarted and upgraded by its deploy, under clients in pods of two nodes."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.place import Place
from tests.support.cluster import ROOT, Cluster, deploy

CLIENT = """
import json, os, socket, sys, time
stop, connects, failed, backends = sys.argv[1], 0, [], set()
end = time.monotonic() + 90
while not os.path.exists(stop) and time.monotonic() < end:
    try:
        with socket.create_connection(("10.96.0.10", 80), 5) as client:
            client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
            backends.add(answer.split()[-1].decode())
            connects += 1
    except OSError as error:
        failed.append(repr(error))
    time.sleep(0.005)
print(json.dumps([connects, failed, sorted(backends)]))
"""
STOP = "/run/socklb/test-upgrade.stop"


@contextlib.contextmanager
def eight_clients(cluster: Cluster) -> Iterator[list[tuple[int, list[str], list[str]]]]:
    """Keep four clients in a pod of w1 and four in one of w2 connecting; fill the list at the end."""
    results: list[tuple[int, list[str], list[str]]] = []
    places = [cluster.pod("client")] * 4 + [cluster.pod("client-2")] * 4
    command = ["python3", "-c", CLIENT, STOP]
    jobs = [subprocess.Popen(place.argv(*command), stdout=subprocess.PIPE, text=True) for place in places]
    time.sleep(1)
    try:
        yield results
    finally:
        for name in ("w1", "w2"):
            cluster.node(name).output("touch", STOP)
        results += [json.loads(job.communicate(timeout=30)[0]) for job in jobs]
        for name in ("w1", "w2"):
            cluster.node(name).output("rm", STOP)


def connect4(node: Place) -> int:
    hooks = json.loads(node.output("socklb", "status", "--json"))["hooks"]
    return next(hook["program_id"] for hook in hooks if hook["name"] == "connect4")


@pytest.fixture
def newer_bundle(tmp_path: Path) -> Path:
    """A bundle with other objects, as the next version would have."""
    tar, newer = ROOT / "build" / "agent.tar", tmp_path / "agent.tar"
    tree = tmp_path / "agent"
    tree.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", tree], check=True)
    (package,) = tree.glob("lib/socklb/datapath")
    build = ["make", "-s", "-B", "-C", ROOT / "bpf", f"OUT={package}", "DEFINES=-DLOOKUP_TRIES=4"]
    subprocess.run(build, check=True)
    subprocess.run(["tar", "-cf", newer, "-C", tree, "bin", "lib"], check=True)
    return newer


def test_an_upgrade_under_load_fails_no_connect(cluster: Cluster, newer_bundle: Path) -> None:
    node = cluster.node("w1")
    before = connect4(node)
    with eight_clients(cluster) as results:
        deploy("agent", "--data", f"bundle={newer_bundle}")
        assert connect4(node) != before
        node.output("sh", "-c", "kill -9 $(cat /run/socklb/agent.pid)")
        time.sleep(0.5)
        deploy("agent", "--data", f"bundle={newer_bundle}")
    assert [failed for _, failed, _ in results] == [[]] * 8
    assert all(connects > 50 for connects, _, _ in results)
    assert {name for _, _, backends in results for name in backends} <= {"web-1", "web-2", "web-3"}


def test_the_agent_of_the_present_source_is_back(cluster: Cluster) -> None:
    deploy("agent")
    assert json.loads(cluster.node("w1").output("socklb", "status", "--json"))["synced"]
