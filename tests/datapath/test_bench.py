"""The bench runs, prints every column, and leaves nothing behind. What it measures is not asserted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import latency, upgrade
from bench.__main__ import parse
from bench.columns import AGAIN, HOOKS, WITH_SERVICES
from bench.figures import Figure
from bench.latency_report import ROWS
from bench.runs import read
from socklb.datapath import mounts

ROOT = Path(__file__).parents[2]


def start(into: Path, part: str, *arguments: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "bench", part, "--into", str(into), *arguments)
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kept(into: Path) -> list[Figure]:
    """Return the figures in the run's file."""
    (path,) = into.iterdir()
    return read(path).figures


def left_behind(pid: int) -> list[str]:
    """Cgroups carry the number of the process that made them; nothing else of the bench has a name but its mounts."""
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root is not None
    held = [place for place in Path("/proc/mounts").read_text().split() if f"socklb-bench-{pid}-" in place]
    return [*map(str, root.glob(f"socklb-bench-{pid}*")), *held, *map(str, Path("/tmp").glob(f"socklb-bench-{pid}-*"))]


@pytest.mark.parametrize("words", [[], ["latency"], ["latency", "--cycles", "7"]])
def test_latency_is_measured_whole_unless_less_is_asked_for(words: list[str]) -> None:
    found = parse(words)
    assert (found.services, found.cycles) == (latency.SERVICES, 7 if "7" in words else latency.CYCLES)


def test_latency_has_a_figure_in_every_column_and_leaves_nothing_behind(objects: Path, tmp_path: Path) -> None:
    with start(tmp_path, "latency", "--services", "10,20", "--cycles", "3") as bench:
        printed, said = bench.communicate(timeout=120)
    assert bench.returncode == 0, said
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    rows = [line for line in lines if line[1].endswith((" µs", " k/s"))]
    assert [line[0] for line in rows] == 2 * [row.label for row in ROWS], printed
    for line, row in zip(rows, 2 * ROWS, strict=True):
        figures = dict(zip((AGAIN, *WITH_SERVICES), line[2:], strict=False))
        lacking = {name for name, figure in figures.items() if "±" not in figure}
        assert lacking == (set() if row.task.way.hooked else {HOOKS}), line
    with_10 = [figure for figure in kept(tmp_path) if figure.table.startswith("10 Services")]
    assert {figure.what for figure in with_10} == {row.name for row in ROWS}
    shown = {cell for line in rows for cell in line}
    assert {figure.text for figure in with_10} <= shown
    assert left_behind(bench.pid) == []


def test_what_the_verifier_and_a_sweep_take_is_printed_and_nothing_is_left_behind(
    objects: Path, tmp_path: Path
) -> None:
    with start(tmp_path, "packets") as bench:
        printed, said = bench.communicate(timeout=120)
    assert bench.returncode == 0, said
    figures = kept(tmp_path)
    assert {figure.what for figure in figures} >= {"hooks", "packet path", "all", "no flow is over"}, printed
    assert min(figure.value for figure in figures) > 0, printed
    assert {figure.text for figure in figures if figure.text not in printed} == set()
    assert left_behind(bench.pid) == []


def test_clients_of_an_agent_that_is_upgraded_are_all_answered(objects: Path, tmp_path: Path) -> None:
    with start(tmp_path, "upgrade", "--rounds", "1") as bench:
        printed, said = bench.communicate(timeout=240)
    assert bench.returncode == 0, said
    figures = kept(tmp_path)
    assert {figure.value for figure in figures if figure.unit == "failed"} == {0}, printed
    assert min(figure.value for figure in figures if figure.unit == "made") > 100, printed
    waits = [figure.column for figure in figures if figure.what == upgrade.IN_SYNC]
    assert waits == [upgrade.RESTARTED, upgrade.KILLED, upgrade.UPGRADED]
    assert left_behind(bench.pid) == []


def test_a_part_that_there_is_not_is_refused_by_the_names_of_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse(["latency", "lattency"])
    assert "no part lattency; valid: latency, hooks" in capsys.readouterr().err


def test_a_bench_that_is_stopped_half_way_leaves_nothing_behind(objects: Path, tmp_path: Path) -> None:
    with start(tmp_path, "latency", "--services", "10", "--cycles", "2000") as bench:
        assert bench.stderr is not None
        said = ""
        while not said.endswith("2000 cycles ..."):
            said += bench.stderr.read(1)
            assert bench.poll() is None, said
        assert left_behind(bench.pid) != []
        bench.send_signal(signal.SIGTERM)
        _, told = bench.communicate(timeout=60)
    assert bench.returncode == 1
    assert left_behind(bench.pid) == [], told
