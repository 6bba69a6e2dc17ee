"""The agent's last log lines, wherever they are: in its file, the journal, or its pod's log; and its metrics."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from socklb import control_socket
from socklb.config import Config
from socklb.errors import SocklbError
from socklb.sockets.pods import LOGS

FILE = Path("/var/log/socklb.log")  # of the agent's unit
UNIT = "socklb-agent"
LINES = 2000
TAIL = 1 << 19  # bytes
PATIENCE = 20.0  # seconds


def found(agent: int | None) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield a name and a reader for each log that exists. agent: the process id of a running agent."""
    errors = Path("/proc", str(agent), "fd/2") if agent else FILE
    for path in dict.fromkeys((errors.resolve(), FILE)):
        if path.is_file():
            yield path.name, partial(tail, path)
    if shutil.which("journalctl") and Path("/run/systemd/system").is_dir():
        yield "journal.txt", journal
    for path in _of_pods():
        yield f"{path.parent.parent.name}-{path.parent.name}-{path.name}", partial(tail, path)


def tail(path: Path) -> str:
    """Return the last lines of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().decode(errors="replace").splitlines(keepends=True)
    return "".join(lines[1 if size > TAIL else 0 :][-LINES:])


def journal() -> str:
    """Return the last lines of the unit."""
    words = ["journalctl", "--unit", UNIT, "--lines", str(LINES), "--no-pager", "--output", "short-iso"]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout


def metrics(config: Config) -> str:
    """Return what Prometheus would scrape now."""
    answer: dict[str, Any] = control_socket.ask(Path(config.socket), "status") or {}
    where = answer.get("listening", {}).get("metrics")
    if not where:
        raise SocklbError("no agent serves metrics", value=config.metrics_address)
    with urllib.request.urlopen(f"http://{where}/metrics", timeout=PATIENCE) as response:
        return str(response.read().decode())


def _of_pods() -> Iterator[Path]:
    for folder in LOGS:
        with suppress(OSError):  # access is denied
            yield from sorted(folder.glob("*_socklb-*/*/*.log"))
