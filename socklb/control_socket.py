"""Ask the agent, on a Unix socket: each question is one line, each answer one JSON document.

    control_socket.ask(Path("/run/socklb/agent.sock"), "status")    # None: no agent runs

The questions are in `socklb.agent.agent`. This end imports next to nothing, for commands that must be quick.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from socklb.errors import SocklbError

TIMEOUT = 5  # seconds


class SilentAgentError(SocklbError):
    """An agent runs but does not answer: it is busy, or stopped."""


def ask_raw(path: Path, question: str) -> bytes | None:
    """Ask the agent; None if none runs, or if it ends before it has answered.

    Raises:
        SilentAgentError: it does not answer in time.
        SocklbError: access is denied.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        try:
            client.connect(str(path))
            client.sendall(f"{question}\n".encode())
            return b"".join(iter(lambda: client.recv(1 << 16), b"")) or None
        except (FileNotFoundError, ConnectionError):
            return None
        except PermissionError as error:
            raise SocklbError("the agent answers root only", value=str(path), hint="sudo socklb ...") from error
        except TimeoutError as error:
            hint = "ask again: it may be taking over a large table; its log says what it does"
            raise SilentAgentError(f"the agent did not answer in {TIMEOUT} s", value=str(path), hint=hint) from error


def ask(path: Path, question: str) -> dict[str, Any] | None:
    """Do the same, and return the document.

    Raises:
        SilentAgentError: it does not answer in time.
        SocklbError: access is denied.
    """
    answer = ask_raw(path, question)
    return json.loads(answer) if answer else None
