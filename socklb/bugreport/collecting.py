"""What a maintainer needs, in one archive: each piece by itself, so that a failure leaves the others intact.

    write(Path("report.tar.gz"), "socklb-w1", pieces(path, pid, cli.main), Redactor(known(path, [pid])))

Every text goes through the redactor before it is written.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from socklb import config, config_file
from socklb.bugreport import logs, node
from socklb.bugreport.secrets import Redactor
from socklb.config import Config
from socklb.errors import SocklbError, reason

MOST = 10_000  # rows of a table

Command = Callable[[list[str]], int]  # takes the arguments, prints, and returns the exit code


class Piece(NamedTuple):
    """A file of the report, and the function that makes its text."""

    name: str
    make: Callable[[], str]


def pieces(path: Path, agent: int | None, command: Command) -> Iterator[Piece]:
    """Yield the pieces of a report.

    path: of the configuration. agent: the process id of a running agent. command: `socklb`, whose verbs print some
    pieces.
    """
    yield Piece("configuration.txt", partial(configuration, path))
    yield Piece("versions.txt", node.versions)
    yield Piece("status.txt", partial(verb, command, path, "status", "--verbose"))
    yield Piece("status.json", partial(verb, command, path, "status", "--json"))
    for kind in ("service", "socket", "flow"):
        yield Piece(f"{kind}s.json", partial(rows, command, path, kind, "list", "--json"))
    for name, make in (("hooks", node.hook_programs), ("pins", node.pins), ("metrics", logs.metrics)):
        yield Piece(f"{name}.txt", partial(_configured, make, path))
    yield Piece("devices.txt", node.device_programs)
    yield Piece("mounts.txt", node.mounted)
    for name, make in logs.found(agent):
        yield Piece(f"log/{name}", make)


def write(output: Path, folder: str, wanted: Iterable[Piece], redactor: Redactor) -> list[str]:
    """Write the archive, readable by root only; return which pieces could not be made.

    Raises:
        OSError: it cannot be written, or exists already.
    """
    failed: list[str] = []
    with output.open("xb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        output.chmod(0o600)
        for piece in wanted:
            try:
                text = piece.make()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are wanted
                text = f"could not be read: {reason(error)}\n"
                failed.append(f"{piece.name}: {redactor.clean(reason(error))}")
            data = redactor.clean(text).encode()
            entry = tarfile.TarInfo(f"{folder}/{piece.name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, time.time()
            archive.addfile(entry, io.BytesIO(data))
    return failed


def _configured(make: Callable[[Config], str], path: Path) -> str:
    return make(config.load(path))


def configuration(path: Path) -> str:
    """Return the known keys with their values; of others only the names, because their values may be secret."""
    said = config_file.read(path)
    lines = [f"{key} = {json.dumps(value, default=str)}" for key, value in said.items() if key in config.KEYS]
    lines += [f"# left out, as no key of socklb: {key}" for key in said if key not in config.KEYS]
    return "\n".join([f"# {path}", *lines]) + "\n"


def verb(command: Command, path: Path, *typed: str) -> str:
    """Return the output of a verb."""
    printed, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        code = command([*typed, "--config", str(path)])
    if code == 1:
        raise SocklbError(" ".join(told.getvalue().split()).removeprefix("socklb: "))
    return printed.getvalue() or told.getvalue()


def rows(command: Command, path: Path, *typed: str) -> str:
    """Return the rows of a table, or some of very many."""
    found: list[Any] = json.loads(verb(command, path, *typed))
    document = {"rows": len(found), "shown": found[:MOST]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
