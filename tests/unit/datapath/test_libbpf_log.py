"""Of a long libbpf log, the line that says why comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from socklb.datapath.capabilities import missing_capabilities
from socklb.datapath.libbpf import reason_line

VERIFIER = """libbpf: prog 'connect4': BPF program load failed: Permission denied
libbpf: prog 'connect4': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
; int connect4(struct bpf_sock_addr *ctx) @ x.bpf.c:9
0: (85) call bpf_map_lookup_elem#1
R0 invalid mem access 'map_value_or_null'
processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'connect4': failed to load: -13
"""
PINNED = "libbpf: couldn't reuse pinned map at '/sys/fs/bpf/socklb/v1/maps/sockets': parameter mismatch\nlibbpf: map\n"
ULIMIT = """libbpf: Error in bpf_object__probe_loading():Operation not permitted(1). Make sure your kernel \
supports BPF (CONFIG_BPF_SYSCALL=y) and/or that RLIMIT_MEMLOCK is set to big enough value ('ulimit -l').
libbpf: failed to load object 'x'
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (VERIFIER, "R0 invalid mem access 'map_value_or_null'"),
        (PINNED, "couldn't reuse pinned map at '/sys/fs/bpf/socklb/v1/maps/sockets': parameter mismatch"),
        (ULIMIT, "failed to load object 'x'"),
        ("", ""),
    ],
    ids=["the verifier's last word", "libbpf's first line", "not the misleading advice on ulimit", "an empty log"],
)
def test_the_reason_is(log: str, reason: str) -> None:
    assert reason_line(log) == reason


@pytest.mark.parametrize(
    ("effective", "told"),
    [
        ("000001ffffffffff", ""),
        ("0000000000200000", ""),
        ("000000c000001000", ""),
        ("0000008000000000", "lacks CAP_NET_ADMIN, CAP_PERFMON:"),
        ("0000000000001000", "lacks CAP_PERFMON, CAP_BPF:"),
        ("0000000000000000", "lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF:"),
    ],
    ids=["all", "CAP_SYS_ADMIN", "the three", "CAP_BPF alone", "CAP_NET_ADMIN alone", "none"],
)
def test_missing_capabilities_are_named(tmp_path: Path, effective: str, told: str) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tsocklb\nCapPrm:\t000001ffffffffff\nCapEff:\t{effective}\n")
    found = missing_capabilities(status)
    assert told in found if told else not found
