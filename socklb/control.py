"""The agent answers questions on a Unix socket: one line asks, one JSON document answers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from socklb import __version__
from socklb.errors import SocklbError
from socklb.serving import frontend_text

if TYPE_CHECKING:
    from socklb.agent import Agent

TIMEOUT = 5  # seconds


@asynccontextmanager
async def answering(path: Path, agent: Agent) -> AsyncGenerator[None]:
    """Answer questions while the block runs. The caller is the node's only agent, so a socket left behind may go."""
    _make_way(path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = (await reader.readline()).decode(errors="replace").strip()
        respond = ANSWERS.get(question, lambda _: {"error": f"{question!r} is not one of {', '.join(ANSWERS)}"})
        writer.write(msgspec.json.encode(respond(agent)))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        yield
    _make_way(path)


def _make_way(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _status(agent: Agent) -> dict[str, Any]:
    return {
        "agent": {"running": True, "pid": os.getpid(), "version": __version__, "started": agent.started},
        "source": agent.reach._asdict(),
        "synced": agent.synced,
        "applied": {"revision": agent.revision, "objects": agent.applied},
        "problems": [problem._asdict() for problem in agent.problems()],
        "writes": agent.writes(),
        "listening": agent.health.listening,
    }


def _services(agent: Agent) -> dict[str, Any]:
    return {frontend_text(frontend): key for key, plan in agent.plan.services.items() for frontend in plan.frontends}


ANSWERS: dict[str, Callable[[Agent], dict[str, Any]]] = {"status": _status, "services": _services}


def ask(path: Path, question: str) -> dict[str, Any] | None:
    """Ask the agent; None if none runs, or if it ends before it has answered.

    Raises:
        SocklbError: it is too busy to answer.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        try:
            client.connect(str(path))
            client.sendall(f"{question}\n".encode())
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        except (FileNotFoundError, ConnectionError):
            return None
        except TimeoutError as error:
            hint = "ask again: it may be taking over a large table; its log says what it does"
            raise SocklbError(f"the agent did not answer in {TIMEOUT} s", value=str(path), hint=hint) from error
    return msgspec.json.decode(answer) if answer else None
