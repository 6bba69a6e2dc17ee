"""Which Service holds which frontend, of which type: names for what the kernel's tables hold as numbers.

    entries = entries_of(state, plan, keys)         # pure
    write(path, entries)                            # the agent; whole or not at all
    entries = read(path)                            # None: no agent has written it

The file is for those who look while no agent runs: it says what the last one knew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "services.json"  # beside the agent's socket


class Entry(Struct):
    """A frontend and who holds it. `backends` are those of frontends that only the packet path serves."""

    frontend: str
    service: str
    type: str
    packet_only: bool = False
    backends: list[str] = []  # msgspec copies an empty default


def matching(keys: Iterable[str], namespace: str, name: str) -> Iterator[str]:
    """Yield the Services of a namespace and of a name; empty: any."""
    for key in keys:
        its_namespace, _, its_name = key.partition("/")
        if namespace in ("", its_namespace) and name in ("", its_name):
            yield key


def write(path: Path, entries: list[Entry]) -> None:
    """Replace the file.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(entries))
    new.replace(path)


def read(path: Path) -> list[Entry] | None:
    """Return what the last agent knew; None where nobody wrote it, or another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Entry])
    except (OSError, msgspec.MsgspecError):
        return None
