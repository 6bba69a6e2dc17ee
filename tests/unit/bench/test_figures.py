"""The shape of figures: what a run keeps, how it is printed, and what a comparison of two runs says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.compare import main as compare
from bench.compare import verdict
from bench.figures import Figure, print_tables, quantile
from bench.runs import Record, read
from socklb.errors import SocklbError

CONNECT = Figure("latency", "1,000 Services", "TCP connect", "socklb", "ratio", 1.01, 0.002, goal="1.02")
DATAGRAMS = Figure("latency", "1,000 Services", "datagrams", "socklb", "k/s", 261.0, 2.0, "higher")
MEMORY = Figure("control", "The agent", "RSS", "10 x 4", "MB", 78.4)
ALL = [CONNECT, DATAGRAMS, MEMORY]


def kept(folder: Path, *parts: list[Figure]) -> Path:
    record = Record(folder)
    for figures in parts:
        record.add(figures)
    return record.path


def test_a_run_is_read_as_it_was_kept_with_what_is_known_of_the_machine(tmp_path: Path) -> None:
    path = kept(tmp_path, ALL)
    run = read(path)
    assert run.figures == ALL
    assert run.machine.kernel
    assert run.machine.cpu
    assert run.machine.cores > 0
    assert run.machine.commit in path.name
    assert re.fullmatch(r"Kubernetes v\d+\.\d+\.\d+", run.machine.tools[-1])
    assert list(tmp_path.iterdir()) == [path]


def test_what_earlier_parts_found_is_in_the_file_before_the_next_is_measured(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add([CONNECT])
    assert read(record.path).figures == [CONNECT]
    record.add([MEMORY])
    assert read(record.path).figures == [CONNECT, MEMORY]


@pytest.mark.parametrize("text", ["", "{}", '{"machine": 1, "figures": []}'])
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no-run.json"
    path.write_text(text)
    with pytest.raises(SocklbError, match=r"no-run\.json.*python -m bench"):
        read(path)


@pytest.mark.parametrize(
    ("value", "noise", "unit", "text"),
    [
        (1.01, 0.002, "ratio", "1.010 ± 0.002"),
        (12.649, None, "ratio", "12.649"),
        (16.94, 0.05, "µs", "16.9 ± 0.1 µs"),
        (0.28, None, "µs", "0.280 µs"),
        (1234.4, None, "MB", "1,234 MB"),
        (0, None, "failed", "0 failed"),
    ],
)
def test_a_figure_is_printed_with_three_digits_and_its_noise(
    value: float, noise: float | None, unit: str, text: str
) -> None:
    assert Figure("part", "table", "what", "column", unit, value, noise).text == text


def test_a_table_has_a_cell_for_each_figure_with_its_goal(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([CONNECT, DATAGRAMS, Figure("latency", "1,000 Services", "TCP connect", "direct", "µs", 17.0, 0.2)])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines == [
        "1,000 Services",
        "",
        "|  | socklb | direct |",
        "| --- | --- | --- |",
        "| TCP connect | 1.010 ± 0.002 [1.02] | 17.0 ± 0.2 µs |",
        "| datagrams | 261 ± 2 k/s | - |",
    ]


def test_the_interval_of_a_median_leaves_out_the_values_far_from_it() -> None:
    steady = [1.0] * 50
    assert quantile([*steady, *[9.0] * 10]) == (1.0, 0.0)
    assert quantile(range(101)) == (50, 10)


def test_the_interval_of_a_high_quantile_reaches_to_the_greatest_value() -> None:
    value, noise = quantile([1.0] * 296 + [2.0, 3.0, 4.0, 9.0], 0.99)
    assert (value, noise) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((1.01, 0.002, "lower"), (1.013, 0.001, "lower"), "noise"),
        ((1.01, 0.002, "lower"), (1.02, 0.002, "lower"), "worse"),
        ((1.01, 0.002, "lower"), (1.00, 0.002, "lower"), "better"),
        ((261.0, 2.0, "higher"), (250.0, 2.0, "higher"), "worse"),
        ((261.0, 2.0, "higher"), (270.0, 2.0, "higher"), "better"),
        ((78.0, None, "lower"), (278.0, 1.0, "lower"), "measured once"),
    ],
)
def test_noise_is_told_from_a_difference(
    one: tuple[float, float | None, str], other: tuple[float, float | None, str], said: str
) -> None:
    first, second = (Figure("part", "table", "what", "column", "unit", *values) for values in (one, other))
    assert verdict(first, second) == said


def test_a_comparison_names_both_machines_and_the_figures_of_only_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slower = Figure("latency", "1,000 Services", "TCP connect", "socklb", "ratio", 1.21, 0.002)
    compare(kept(tmp_path / "a", ALL), kept(tmp_path / "b", [slower, MEMORY]))
    said = capsys.readouterr().out
    assert "| kernel |" in said
    assert "| TCP connect | socklb | 1.010 ± 0.002 | 1.210 ± 0.002 | 1.198 | worse |" in said
    assert "| RSS | 10 x 4 | 78.4 MB | 78.4 MB | 1.000 | measured once |" in said
    assert "2 figures are in both; 1 only in A, 0 only in B" in said
