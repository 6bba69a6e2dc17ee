"""Which capability a refused system call is about."""

from __future__ import annotations

from pathlib import Path

# Numbers of include/uapi/linux/capability.h. Without CAP_PERFMON the verifier forbids arithmetic on pointers from
# different maps, which the programs do ("prohibited for !root").
NEEDED = {12: "CAP_NET_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
SYS_ADMIN = 21  # stands for all of them


def missing_capabilities(status: Path = Path("/proc/self/status")) -> str:
    """Say which capabilities this process lacks for eBPF, or give an empty text if it lacks none."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    if effective >> SYS_ADMIN & 1:
        return ""
    missing = [name for number, name in NEEDED.items() if not effective >> number & 1]
    return f"this process lacks {', '.join(missing)}: run as root or grant that" if missing else ""
