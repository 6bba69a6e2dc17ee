"""What the kernel's verifier walks when an agent starts: its time is the greater part of a start."""

from __future__ import annotations

import ctypes as ct
import os
import re
from pathlib import Path

import pytest

from socklb.datapath import hooks, libbpf
from socklb.datapath.features import Feature
from socklb.datapath.links import link_info
from socklb.datapath.node_datapath import OBJECT_FILES, NodeDatapath

RELEASE = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
VERIFIED_INSTRUCTIONS = Feature("verified_insns of programs", "5.16", "nobody can tell", lambda: RELEASE >= (5, 16))
MOST = 20_000  # instructions of one hook; some 1 µs each


class ProgramInfo(ct.Structure):
    """`struct bpf_prog_info` as far as verified_insns (kernel 5.16)."""

    _fields_ = (("before", ct.c_uint8 * 216), ("verified_insns", ct.c_uint32))


@pytest.mark.needs(VERIFIED_INSTRUCTIONS)
@pytest.mark.parametrize("object_file", OBJECT_FILES)
def test_no_hook_makes_the_verifier_walk_far(datapath: NodeDatapath) -> None:
    walked = {name: verified_instructions(datapath.pins.links / name) for name in hooks.HOOKS}
    assert min(walked.values()) > 0
    assert {name: count for name, count in walked.items() if count > MOST} == {}


def verified_instructions(pin: Path) -> int:
    """Return how many instructions of an attached program the verifier processed."""
    link = libbpf.get_pinned(pin)
    program = libbpf.library().bpf_prog_get_fd_by_id(link_info(link, pin).prog_id)
    info = ProgramInfo()
    libbpf.object_info(program, info, pin.name)
    os.close(link)
    os.close(program)
    return int(info.verified_insns)
