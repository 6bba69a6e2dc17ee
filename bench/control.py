"""The agent's own needs: CPU from decoded objects to the kernel's tables, and memory.

    python -m bench control

Each size of cluster is measured in a process of its own (bench/control_run.py). Reading and decoding are not included;
bench/sync.py measures them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, cast

from bench.figures import Figure
from bench.node import cgroup
from bench.progress import progress
from rig.sandbox import mounted_bpffs
from socklb.datapath.pins import Pins

CLUSTERS = ((10, 4), (10_000, 4), (30_000, 4), (100_000, 10))  # Services, endpoints of each
LIMIT = 300.0  # seconds


class Measured(NamedTuple):
    """A row of the table: what it is, its name in what control_run prints, its unit, and the goals by cluster."""

    label: str
    name: str
    unit: str
    goals: dict[tuple[int, int], str]


SCALE = {"s": 1.0, "ms": 1e3, "MB": 1e-6}
MEASURED = (
    Measured("objects to kernel, CPU", "cpu", "s", {(10_000, 4): "< 0.6 s", (100_000, 10): "< 5 s"}),
    Measured("objects to kernel, time", "wall", "s", {}),
    Measured("one changed Service, CPU", "change", "ms", {(10_000, 4): "< 1 ms"}),
    Measured("agent, RSS", "rss", "MB", {(30_000, 4): "< 250 MB"}),
    Measured("tables in the kernel", "maps", "MB", {(100_000, 10): "< 100 MB"}),
    Measured("packet path at a first start, CPU", "packets_start", "ms", {}),
    Measured("packet path at a restart, CPU", "packets_restart", "ms", {(10_000, 4): "< 50 ms"}),
    Measured("packet path, RSS", "packets_rss", "MB", {(10_000, 4): "< 10 MB"}),
    Measured("table of flows in the kernel", "packets_maps", "MB", {}),
)


def measure() -> list[Figure]:
    """Measure."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        hooked = cgroup(opened, "control")
        for size in CLUSTERS:
            with progress(f"control plane, {size[0]} Services x {size[1]} endpoints"):
                found[size] = run(scratch / f"bpf-{size[0]}", hooked, *size)
    return [
        Figure(
            "control",
            "The agent, from decoded objects to the kernel",
            one.label,
            f"{count:,} x {endpoints}",
            one.unit,
            found[count, endpoints][one.name] * SCALE[one.unit],
            goal=one.goals.get((count, endpoints), ""),
        )
        for one in MEASURED
        for count, endpoints in CLUSTERS
    ]


def run(directory: Path, hooked: Path, count: int, endpoints: int) -> dict[str, float]:
    """Measure one size of cluster in a process and a BPF file system of its own."""
    with mounted_bpffs(directory) as bpffs, ExitStack() as opened:
        opened.callback(Pins(bpffs).remove)
        command = (sys.executable, "-m", "bench.control_run", bpffs, hooked, str(count), str(endpoints))
        done = subprocess.run(["unshare", "--net", *command], stdout=subprocess.PIPE, timeout=LIMIT, check=True)
    return cast("dict[str, float]", json.loads(done.stdout))
