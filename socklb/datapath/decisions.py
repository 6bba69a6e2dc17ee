"""The decisions that the hooks report: bpf/decision.h, seen from Python.

    for decision in unpack(raw): ...

`tests/datapath/test_layout.py` compares it with the object's BTF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

DECISION = struct.Struct("=QQQQ16s16s2s2sIBBBB4x16s")
FRAME = struct.Struct("=II")  # how many decisions follow, and how many were lost before them
PORT = struct.Struct("!H")
HOOKS = (
    *("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"),
    *("getpeername4", "getpeername6", "bind4", "bind6"),
)
PASSED, TRANSLATED, REFUSED = VERDICTS = "passed", "translated", "refused"
# `enum reason`, with its names.
REASONS = {
    "BY_RANDOM": "random",
    "BY_AFFINITY": "affinity",
    "BY_LOAD": "least-loaded",
    "KEPT": "kept",
    "GIVEN_BACK": "given back",
    "NO_ENDPOINT": "no endpoint",
    "NO_SUCH_PORT": "no such port",
    "PORT_IN_USE": "port in use",
    "NO_SERVICE": "no Service's",
    "NO_SUCH_RECORD": "no record",
    "OTHER_PROTOCOL": "other protocol",
    "LEFT_ALONE": "left alone",
    "LEFT_OUT": "left out",
    "SOURCE_RANGES": "source ranges",
    "SHARED_PORT": "shared port",
    "SAME_BACKEND": "same backend",
}
TEXTS = tuple(REASONS.values())


class Decision(NamedTuple):
    """One decision. `time` is of CLOCK_MONOTONIC in nanoseconds; `given` is None if no backend was chosen."""

    time: int
    cookie: int
    netns: int
    cgroup: int
    asked: tuple[bytes, int]
    given: tuple[bytes, int] | None
    pid: int
    protocol: int
    hook: str
    verdict: str
    reason: str
    command: str


def unpack(raw: bytes) -> Iterator[Decision]:
    """Read consecutive `struct decision`."""
    for fields in DECISION.iter_unpack(raw):
        time, cookie, netns, cgroup, asked, given, asked_port, given_port, pid, protocol, hook, verdict, why, name = (
            fields
        )
        yield Decision(
            *(time, cookie, netns, cgroup, (asked, _port(asked_port))),
            (given, _port(given_port)) if verdict == VERDICTS.index(TRANSLATED) else None,
            *(pid, protocol, HOOKS[hook], VERDICTS[verdict], TEXTS[why]),
            name.partition(b"\0")[0].decode(errors="replace"),
        )


def _port(raw: bytes) -> int:
    return int(PORT.unpack(raw)[0])
