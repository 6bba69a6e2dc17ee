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
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, cast

from bench.node import cgroup
from bench.progress import progress
from bench.table import print_table
from rig.sandbox import mounted_bpffs
from socklb.datapath.pins import Pins

CLUSTERS = ((10, 4), (10_000, 4), (30_000, 4), (100_000, 10))  # Services, endpoints of each
LIMIT = 300.0  # seconds


class Figure(NamedTuple):
    """A row of the table: what it is, how to print it, and the goals by cluster."""

    label: str
    name: str
    text: Callable[[float], str]
    goals: dict[tuple[int, int], str]


def megabytes(size: float) -> str:
    """Return bytes, formatted for people."""
    return f"{size / 1e6:.0f} MB"


def milliseconds(seconds: float) -> str:
    """Return a short time, formatted for people."""
    return f"{1000 * seconds:.2f} ms"


FIGURES = (
    Figure("objects to kernel, CPU", "cpu", "{:.2f} s".format, {(10_000, 4): "< 0.6 s", (100_000, 10): "< 5 s"}),
    Figure("objects to kernel, time", "wall", "{:.2f} s".format, {}),
    Figure("one changed Service, CPU", "change", milliseconds, {(10_000, 4): "< 1 ms"}),
    Figure("agent, RSS", "rss", megabytes, {(30_000, 4): "< 250 MB"}),
    Figure("tables in the kernel", "maps", megabytes, {(100_000, 10): "< 100 MB"}),
    Figure("packet path at a first start, CPU", "packets_start", milliseconds, {}),
    Figure("packet path at a restart, CPU", "packets_restart", milliseconds, {(10_000, 4): "< 50 ms"}),
    Figure("packet path, RSS", "packets_rss", megabytes, {(10_000, 4): "< 10 MB"}),
    Figure("table of flows in the kernel", "packets_maps", megabytes, {}),
)


def main() -> None:
    """Measure and print."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        hooked = cgroup(opened, "control")
        for size in CLUSTERS:
            with progress(f"control plane, {size[0]} Services x {size[1]} endpoints"):
                found[size] = run(scratch / f"bpf-{size[0]}", hooked, *size)
    print_table(
        "The agent, from decoded objects to the kernel (goal in brackets)",
        ("", *(f"{count:,} x {endpoints}" for count, endpoints in CLUSTERS)),
        [(figure.label, *(cell(figure, size, found[size][figure.name]) for size in CLUSTERS)) for figure in FIGURES],
    )


def cell(figure: Figure, size: tuple[int, int], value: float) -> str:
    """Return a figure, and its goal if it has one."""
    goal = figure.goals.get(size)
    return figure.text(value) + (f" [{goal}]" if goal else "")


def run(directory: Path, hooked: Path, count: int, endpoints: int) -> dict[str, float]:
    """Measure one size of cluster in a process and a BPF file system of its own."""
    with mounted_bpffs(directory) as bpffs, ExitStack() as opened:
        opened.callback(Pins(bpffs).remove)
        command = (sys.executable, "-m", "bench.control_run", bpffs, hooked, str(count), str(endpoints))
        done = subprocess.run(["unshare", "--net", *command], stdout=subprocess.PIPE, timeout=LIMIT, check=True)
    return cast("dict[str, float]", json.loads(done.stdout))
