"""Which Service holds which frontend, and of which type: names for the numbers in the kernel's tables.

    write(path, entries)                            # the agent; whole or not at all
    entries = read(path)                            # None: no agent has written it

The file serves commands that run while no agent does: it holds what the last agent knew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "services.json"  # beside the agent's socket


class Entry(Struct):
    """A frontend and the Service that holds it. `backends` is set only if the packet path alone serves the frontend."""

    frontend: str
    service: str
    type: str
    packet_only: bool = False
    backends: list[str] = []  # msgspec copies an empty default


def matching(keys: Iterable[str], namespace: str, name: str) -> Iterator[str]:
    """Yield the keys of the Services with this namespace and name; an empty string matches any."""
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
    """Return what the last agent knew; None if there is no file, or another version wrote it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Entry])
    except (OSError, msgspec.MsgspecError):
        return None
