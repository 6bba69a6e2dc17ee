"""Which capability a refusal is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from socklb.datapath.capabilities import missing_capabilities

ALL = (1 << 41) - 1
NET_ADMIN, SYS_ADMIN, SYS_RESOURCE, PERFMON, BPF = (1 << number for number in (12, 21, 24, 38, 39))
THREE = NET_ADMIN | PERFMON | BPF


@pytest.mark.parametrize(
    ("effective", "memory_limit", "named"),
    [
        (ALL, True, ""),
        (0, False, "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"),
        (THREE, False, ""),
        (THREE, True, "CAP_SYS_RESOURCE"),
        (SYS_ADMIN, True, "CAP_SYS_RESOURCE"),
        (THREE | SYS_RESOURCE, True, ""),
        (NET_ADMIN | BPF, True, "CAP_PERFMON"),
    ],
    ids=[
        "root",
        "nothing",
        "the three",
        "the three, at RLIMIT_MEMLOCK",
        "CAP_SYS_ADMIN, at RLIMIT_MEMLOCK",
        "four, at RLIMIT_MEMLOCK",
        "two, at RLIMIT_MEMLOCK",
    ],
)
def test_what_is_lacking_is_named(tmp_path: Path, effective: int, memory_limit: bool, named: str) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{effective:016x}\n")
    said = f"this process lacks {named}: run as root or grant that" if named else ""
    assert missing_capabilities(status, memory_limit=memory_limit) == said
