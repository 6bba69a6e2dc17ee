"""The raw configuration file: where it is, and its contents before `socklb.config` has checked them.

    agents_socket(DEFAULT_PATH)     # all that a command needs to know that asks a running agent

It is a module of its own for commands that must be quick: the module that checks a configuration takes 40 ms to import.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from socklb.errors import SocklbError

DEFAULT_PATH = Path("/etc/socklb/socklb.toml")
DEFAULT_SOCKET = "/run/socklb/agent.sock"


def read(path: Path) -> dict[str, Any]:
    """Read the file.

    Raises:
        SocklbError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        reason, hint = f"cannot read the configuration: {error.strerror}", "name another with --config FILE"
        raise SocklbError(reason, value=path, hint=hint) from error
    except ValueError as error:
        raise SocklbError(f"the configuration is not right: no TOML: {error}", value=path) from error


def agents_socket(path: Path) -> Path:
    """Return the path of the agent's socket.

    Raises:
        SocklbError: as above.
    """
    return Path(str(read(path).get("socket", DEFAULT_SOCKET)))
