"""The raw configuration file: where it is, and its contents before `socklb.config` has checked them.

    agents_socket(DEFAULT_PATH)     # all that a command needs to know that asks a running agent

It is a module of its own for commands that must be quick: the module that checks a configuration takes 40 ms to import.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from socklb.errors import SocklbError, short

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
    except UnicodeDecodeError as error:
        raise _no_toml(f"byte 0x{error.object[error.start]:02x} is not UTF-8", path) from error
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(str(error), path) from error
    except RecursionError as error:
        raise _no_toml("nested too deep", path) from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise _no_toml("an integer of thousands of digits", path) from error


def has_path(value: object) -> bool:
    """Return whether a value can be a path at all."""
    return isinstance(value, str) and "\0" not in value


def agents_socket(path: Path) -> Path:
    """Return the path of the agent's socket.

    Raises:
        SocklbError: as above.
    """
    found = read(path).get("socket", DEFAULT_SOCKET)
    if not has_path(found):
        raise SocklbError(f"the configuration is not right: {short(found)} is no path - at `$.socket`", value=path)
    return Path(found)


def _no_toml(why: str, path: Path) -> SocklbError:
    return SocklbError(f"the configuration is not right: no TOML: {why}", value=path)
