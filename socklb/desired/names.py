"""Which Service holds a frontend, for commands: from the running agent, or from the file of the last one.

names_of_frontends(config)                      # {"10.96.0.10:80/TCP": "default/web", ...}
known, current = entries(config, "default", "") # with types; current: an agent answered
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from socklb import control_socket
from socklb.config import Config
from socklb.desired import catalog
from socklb.desired.catalog import Entry


def names_of_frontends(config: Config) -> dict[str, str]:
    """Return the Service of each frontend, from the running agent or from the file of the last one."""
    return {entry.frontend: entry.service for entry in entries(config, "", "")[0]}


def entries(config: Config, namespace: str, name: str) -> tuple[list[Entry], bool]:
    """Return the frontends of these Services, and whether the agent answered; if not, they are from its file."""
    answer = None
    with suppress(control_socket.SilentAgentError):
        answer = control_socket.ask_raw(Path(config.socket), f"services {namespace} {name}")
    if answer:
        return msgspec.json.decode(answer, type=list[Entry]), True
    known = catalog.read(Path(config.socket).parent / catalog.FILE) or []
    wanted = set(catalog.matching({entry.service for entry in known}, namespace, name))
    return [entry for entry in known if entry.service in wanted], False
