"""A process' memory and CPU time, from the kernel's own figures."""

from __future__ import annotations

import os
import re
from pathlib import Path


def resident(process: int | str = "self") -> int:
    """Return the bytes of memory of a process, including the mapped tables."""
    return 1024 * int(number_after("VmRSS", Path(f"/proc/{process}/status").read_text()))


def cpu_seconds(process: int | str) -> float:
    """Return the CPU time that a process has used, including the kernel's on its behalf."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def number_after(name: str, text: str) -> str:
    """Return the number of a "name: number" line."""
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"no {name} in:\n{text}")
    return found[1]
