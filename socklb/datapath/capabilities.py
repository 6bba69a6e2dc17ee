"""Which capability an EPERM is about."""

from __future__ import annotations

from pathlib import Path

NEEDED = {12: "CAP_NET_ADMIN", 39: "CAP_BPF"}  # numbers of include/uapi/linux/capability.h
SYS_ADMIN = 21  # stands for both, and for CAP_BPF on kernels before 5.8


def missing_capabilities(status: Path = Path("/proc/self/status")) -> str:
    """Say which capabilities this process lacks for eBPF, or give an empty text if it lacks none."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    effective = int(line.split()[1], 16)
    if effective >> SYS_ADMIN & 1:
        return ""
    missing = [name for number, name in NEEDED.items() if not effective >> number & 1]
    return f"this process lacks {' and '.join(missing)}: run as root or grant them" if missing else ""
