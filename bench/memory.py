"""What a process has in memory, and what the kernel says in its own words."""

from __future__ import annotations

import re
from pathlib import Path


def resident(process: int | str = "self") -> int:
    """Give the bytes of memory of a process, the mapped tables included."""
    return 1024 * int(number_after("VmRSS", Path(f"/proc/{process}/status").read_text()))


def number_after(name: str, text: str) -> str:
    """Give the number of a "name: number" line."""
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"no {name} in:\n{text}")
    return found[1]
