"""What an application waits for: socket operations through socklb and through kube-proxy's rules, compared with no
Service.

    python -m bench latency --services 10,1000 --cycles 20

Every column has nodes, pods and a client outside of its own (networks.py). They take turns within one run
(worker/main.c), and each figure is the median over the cycles of "this column's turn / the turn of `direct` in the same
cycle", and half the width of that median's 95 % interval. `direct again` is a second one without a Service: its
difference from 1 is noise.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.columns import Column, Loading, direct_columns, service_columns
from bench.figures import Figure
from bench.latency_report import ROWS, Nanoseconds, Task, Turns, figures
from bench.progress import progress

SERVICES = (10, 1000, 10_000, 100_000)
CYCLES = 60
WORKER_LIMIT = 600.0  # seconds for one operation


def measure(counts: Sequence[int] = SERVICES, cycles: int = CYCLES) -> list[Figure]:
    """Measure."""
    with ExitStack() as opened:
        scratch = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix=f"socklb-bench-{os.getpid()}-")))
        worker = compile_worker(scratch)
        loading: Loading = {}
        columns = list(direct_columns(opened))
        for count in counts:
            columns += service_columns(opened, scratch, count, loading)
        turns: Turns = {}
        for task in dict.fromkeys(row.task for row in ROWS):
            with progress(f"{task.text}, {cycles} cycles"):
                turns[task] = run(worker, task, cycles, [column for column in columns if column.serves(task.way)])
            for act in (act for column in columns for act in column.between):
                act()
    return list(figures(counts, turns, loading))


def compile_worker(scratch: Path) -> Path:
    """Compile the program that measures."""
    sources = sorted(Path(__file__).with_name("worker").glob("*.c"))
    subprocess.run(["clang", "-O2", *sources, "-o", scratch / "worker"], check=True)
    return scratch / "worker"


def run(worker: Path, task: Task, cycles: int, columns: Sequence[Column]) -> Nanoseconds:
    """Repeat an operation on all columns, and return nanoseconds."""
    done = subprocess.run(
        [worker, task.operation, str(cycles), *(one.path(task.way, to_service=task.to_service) for one in columns)],
        stdout=subprocess.PIPE,
        pass_fds=[network for column in columns for network in column.site],
        timeout=WORKER_LIMIT,
        check=True,
    )
    times = array("I", done.stdout)
    each = len(times) // len(columns) // cycles
    turns = [sorted(map(float, times[i : i + each])) for i in range(0, len(times), each)]
    return {(c.name, c.services): turns[i * cycles : (i + 1) * cycles] for i, c in enumerate(columns)}
