"""Which capability was missing when the kernel refused a system call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Numbers of include/uapi/linux/capability.h. Without CAP_PERFMON the verifier forbids arithmetic on pointers from
# different maps, which the programs do ("prohibited for !root").
NEEDED = {12: "CAP_NET_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
SYS_ADMIN = 21  # includes all of them
SYS_RESOURCE = {24: "CAP_SYS_RESOURCE"}  # before Linux 5.11, to raise RLIMIT_MEMLOCK (commit 5b029a32cfe4)


def missing_capabilities(status: Path = Path("/proc/self/status"), *, memory_limit: bool = False) -> str:
    """Return the capabilities that this process lacks for eBPF; empty if it lacks none.

    memory_limit: raising RLIMIT_MEMLOCK was refused. libbpf tries that too if it lacks another capability and cannot
    ask the kernel about its features, so the others are checked first.
    """
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    needed = {} if effective >> SYS_ADMIN & 1 else NEEDED
    missing = _lacking(needed, effective) or (_lacking(SYS_RESOURCE, effective) if memory_limit else [])
    return f"this process lacks {', '.join(missing)}: run as root or grant that" if missing else ""


def _lacking(needed: Mapping[int, str], effective: int) -> list[str]:
    return [name for number, name in needed.items() if not effective >> number & 1]
