"""From the Kubernetes API to the kernel: how long a write takes until the agent's tables have it.

A real etcd, kube-apiserver and agent; 10,000 Services, each with an EndpointSlice, are there. One slice after the other
is patched; a change is timed from before the request is sent to the store in the frontend's row, watched in the mapped
table itself. The server's own part is in the figure: `answered` says how much of it that is.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from bench.progress import progress
from bench.sync import row_numbers
from bench.table import print_table
from socklb.datapath import layout
from socklb.datapath.maps import RowTable
from socklb.datapath.pins import Pins
from socklb.serving import Frontend, pack_address
from tests.datapath.agents import AgentUnderTest
from tests.datapath.sandbox import Sandbox, mounted_bpffs
from tests.kube.conftest import agent_token
from tests.kube.control_plane import ControlPlane
from tests.kube.shapes import SERVICES, SLICES, endpoint_slice, service

ROOT = Path(__file__).parents[1]
COUNT = 10_000
CHANGES = 300
PAUSE = 0.03  # seconds between changes, so that each is a batch of its own
LIMIT = 10.0  # seconds


class Change(NamedTuple):
    """Seconds until the API server answered, and until the kernel had it."""

    answered: float
    there: float


def main() -> None:
    """Measure and print."""
    programs = subprocess.run(
        [ROOT / "images" / "programs.sh", "kube-apiserver", "kube-controller-manager", "etcd", "kubectl"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="socklb-bench-")))
        bpffs = opened.enter_context(mounted_bpffs(scratch / "bpf"))
        place = Sandbox("socklb-bench-api")
        opened.callback(place.remove)
        opened.callback(lambda: Pins(bpffs).remove())
        (scratch / "plane").mkdir()
        plane = opened.enter_context(ControlPlane(Path(programs.stdout.split()[-1]), scratch / "plane"))
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        with progress(f"{COUNT} Services by the API"), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: create(plane, n), range(COUNT)))
        (scratch / "agent").mkdir()
        agent = AgentUnderTest(scratch / "agent", place.cgroup, bpffs)
        opened.callback(agent.stop)
        agent.configure(manifests="", kubeconfig=str(plane.kubeconfig("agent", agent_token(plane))))
        began = time.monotonic()
        agent.launch()
        agent.until(lambda status: status["synced"])
        start = time.monotonic() - began
        with progress(f"{CHANGES} changes by the API"):
            found = changes(plane, agent)
    print_table(
        f"{COUNT} Services by the Kubernetes API",
        ("what", "median", "p99"),
        [
            ("start of the agent to in sync", f"{start:.2f} s", ""),
            (f"write to kernel, {CHANGES} changes", *both([change.there for change in found])),
            ("of it until the API server answered", *both([change.answered for change in found])),
        ],
    )


def both(seconds: list[float]) -> tuple[str, str]:
    """Give median and p99 as people read them."""
    ordered = sorted(1000 * one for one in seconds)
    return f"{statistics.median(ordered):.1f} ms", f"{ordered[int(0.99 * len(ordered))]:.1f} ms"


def address(n: int) -> str:
    """Give Service n's ClusterIP."""
    return f"10.97.{n >> 8}.{n & 255}"


def create(plane: ControlPlane, n: int) -> None:
    """Create Service n with an endpoint."""
    plane.create(SERVICES, service(f"s{n}", clusterIP=address(n)))
    plane.create(SLICES, endpoint_slice(f"s{n}-1", f"s{n}", "10.244.1.1"))


def changes(plane: ControlPlane, agent: AgentUnderTest) -> list[Change]:
    """Give one Service after the other another endpoint."""
    found: list[Change] = []
    maps = Pins(agent.bpffs).maps
    with closing(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
        numbers = row_numbers(maps)
        for change in range(CHANGES):
            n = change * 7 % COUNT
            row = numbers[Frontend(pack_address(address(n)), 80, 6)]
            before = rows.read(row)
            body = {"endpoints": [{"addresses": [f"10.244.2.{1 + change % 200}"]}]}
            began = time.monotonic()
            plane.patch(f"{SLICES}/s{n}-1", body)
            answered = time.monotonic() - began
            while rows.read(row) == before:
                time.sleep(0.0002)
                if time.monotonic() - began > LIMIT:
                    raise TimeoutError(f"change {change} is not in the kernel after {LIMIT} s:\n{agent.log[-2000:]}")
            found.append(Change(answered, time.monotonic() - began))
            time.sleep(PAUSE)
    return found
