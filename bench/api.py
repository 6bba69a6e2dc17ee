"""From the Kubernetes API to the kernel: how long a write takes until the agent's tables have it.

A real etcd, kube-apiserver and agent; 30,000 Services with four endpoints each are there. One EndpointSlice after the
other is patched; a change is timed from before the request is sent to the store in the frontend's row, watched in the
mapped table itself. The server's own part is in the figure; a row of its own says how much of it that is. Then nothing
happens for a minute, and then the server is away for one: how often does one agent ask?
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.agents import CHANGES, address, agent_of, changes, median_and_p99, start
from bench.memory import resident
from bench.progress import progress
from bench.table import print_table
from tests.kube.conftest import agent_token
from tests.kube.control_plane import ControlPlane
from tests.kube.shapes import SERVICES, SLICES, endpoint_slice, service

ROOT = Path(__file__).parents[1]
COUNT = 30_000
ENDPOINTS = [f"10.244.1.{n}" for n in range(1, 5)]
MINUTE = 60.0  # seconds


def main() -> None:
    """Measure and print."""
    programs = subprocess.run(
        [ROOT / "images" / "programs.sh", "kube-apiserver", "kube-controller-manager", "etcd", "kubectl"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()[-1]
    with (
        tempfile.TemporaryDirectory(prefix="socklb-bench-") as home,
        ControlPlane(Path(programs), Path(home)) as plane,
        agent_of("api") as agent,
    ):
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        with progress(f"{COUNT} Services by the API"), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: create(plane, n), range(COUNT)))
        agent.configure(manifests="", kubeconfig=str(plane.kubeconfig("agent", agent_token(plane))))
        seconds = start(agent)
        memory = resident(agent.until(lambda status: status["synced"])["agent"]["pid"])
        with progress(f"{CHANGES} changes by the API"):
            answered, there = changes(agent, COUNT, lambda n, change: patch(plane, n, change))
        with progress("a minute of quiet, and one without a server"):
            quiet, lost = asked_in_quiet(plane), asked_in_an_outage(plane)
    print_table(
        f"{COUNT} Services with {len(ENDPOINTS)} endpoints each by the Kubernetes API",
        ("what", "median", "p99"),
        [
            ("start of the agent to in sync", f"{seconds:.2f} s", ""),
            ("memory of the agent (RSS) then", f"{memory / 1e6:.0f} MB", ""),
            (f"write to kernel, {CHANGES} changes", *median_and_p99(there)),
            ("of it until the API server answered", *median_and_p99(answered)),
            ("requests of the agent in quiet", f"{quiet / MINUTE:.2f} /s", ""),
            ("and in the first minute of an outage", f"{lost / MINUTE:.2f} /s", ""),
        ],
    )


def create(plane: ControlPlane, n: int) -> None:
    """Create Service n with an endpoint."""
    plane.create(SERVICES, service(f"s{n}", clusterIP=address(n)))
    plane.create(SLICES, endpoint_slice(f"s{n}-1", f"s{n}", *ENDPOINTS))


def patch(plane: ControlPlane, n: int, change: int) -> None:
    """Give Service n another endpoint."""
    first = f"10.244.2.{1 + change % 200}"
    plane.patch(f"{SLICES}/s{n}-1", {"endpoints": [{"addresses": [one]} for one in (first, *ENDPOINTS[1:])]})


def asked_in_quiet(plane: ControlPlane) -> int:
    """Count what the agent asks for in a minute in which nothing happens."""
    before = len(plane.asked())
    time.sleep(MINUTE)
    return len(plane.asked()) - before


def asked_in_an_outage(plane: ControlPlane) -> int:
    """Count its tries in the minute after the server went: somebody else listens at its port, and hangs up."""
    plane.kill("kube-apiserver")
    tries: list[None] = []
    with socket.create_server(("127.0.0.1", plane.port)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                tries.append(None)

        threading.Thread(target=hang_up, daemon=True).start()
        time.sleep(MINUTE)
        listener.shutdown(socket.SHUT_RDWR)
    return len(tries)
