"""`socklb monitor`: print a line per decision of the socket hooks as it is made, until Ctrl-C.

socklb monitor                                      # everything
socklb monitor --service shop/web --hook connect    # who connects to a Service, and to which backend
socklb monitor --verdict refused --count 1          # wait for the next refusal
socklb monitor --since 60                           # what others were told in the last minute, too
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from json import dumps
from pathlib import Path

from socklb import config
from socklb.cli.output import Verbs, say, seconds
from socklb.cli.usage import usage
from socklb.datapath.decisions import HOOKS, VERDICTS
from socklb.datapath.pins import Pins
from socklb.sockets.deciding import Row, Rows, Wanted
from socklb.sockets.watching import Watching
from socklb.status.collected import find_cgroup

HEAD = ("TIME", "POD", "PROCESS", "HOOK", "PROTOCOL", "ASKED", "VERDICT", "BACKEND", "WHY", "SERVICE")
WIDTHS = [15, 16, 16, 12, 8, 20, 10, 20, 12, 0]  # of columns before there is anything wider
KINDS = tuple(dict.fromkeys(hook[:-1] for hook in HOOKS))
SINCE = "seconds, or a time as 14:30, 14:30:05 or 2026-01-31T14:30:05"


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "monitor", parents=[common], help="show what the socket hooks decide, as they decide it", **usage(__doc__)
    )
    verb.add_argument("--service", default="", metavar="[NAMESPACE/]NAME", help="only what asked for this Service")
    verb.add_argument("--pod", default="", metavar="POD", help="only this pod's: [NAMESPACE/]NAME, UID, or cgroup")
    verb.add_argument(
        "--address", default="", metavar="ADDRESS[:PORT]", help="only what asked for this address, or was led to it"
    )
    verb.add_argument("--verdict", action="append", choices=VERDICTS, default=[], help="only these; may be repeated")
    verb.add_argument(
        *("--hook",), action="append", choices=(*KINDS, *HOOKS), default=[], metavar="HOOK",
        help=f"only these: {', '.join(KINDS)}, or of one family as {HOOKS[0]}; may be repeated",
    )  # fmt: skip
    verb.add_argument("--since", type=_since, metavar="WHEN", help=f"begin with what others were told since: {SINCE}")
    verb.add_argument("--count", type=_count, metavar="N", help="end after N lines")
    verb.add_argument("-v", "--verbose", action="store_true", help="also the cgroup and the cookie of the socket")
    verb.add_argument("--json", action="store_true", help="print one JSON document per line")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print decisions until there are enough, nobody reads them, or the agent ends."""
    settings = config.load(arguments.config)
    pins, since = Pins(Path(settings.bpffs)), arguments.since
    wanted = Wanted(
        *(arguments.service, arguments.pod, arguments.address, tuple(arguments.verdict), tuple(arguments.hook)),
        since=since or 0.0,
    )
    with Watching(Path(settings.socket), kept=since is not None) as watching:
        if since is not None and watching.began / 1e9 > since:
            began = datetime.fromtimestamp(watching.began / 1e9).astimezone().strftime("%H:%M:%S")
            print(f"nobody watched before {began}: nothing is known of that", file=sys.stderr)
        rows = Rows(settings, pins.maps, find_cgroup(settings), wanted)
        show = _Lines(verbose=arguments.verbose) if not arguments.json else _Documents()
        show.begin()
        for number, row in enumerate(_rows(watching, rows), 1):
            show.row(row)
            if number == arguments.count:
                break
    return 0


def _rows(watching: Watching, rows: Rows) -> Iterator[Row]:
    for decisions, lost in watching:
        if lost:
            print(f"{lost} decisions were lost here: more were made than could be told", file=sys.stderr)
        for decision in decisions:
            if row := rows.of(decision):
                yield row
        sys.stdout.flush()


class _Documents:
    def begin(self) -> None:
        pass

    def row(self, row: Row) -> None:
        say(dumps(row, ensure_ascii=False))


class _Lines:
    """Columns that become wider as they must."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._widths = [*WIDTHS, 0, 0]

    def begin(self) -> None:
        self._say((*HEAD, "CGROUP", "COOKIE") if self._verbose else HEAD)
        sys.stdout.flush()

    def row(self, row: Row) -> None:
        local = datetime.fromisoformat(row["time"]).astimezone()
        cells = (
            local.strftime("%H:%M:%S.%f"),
            row["pod"] or row["pod_uid"] or row["cgroup"] or "-",
            f"{row['pid'] or '?'}/{row['command']}",
            *(row["hook"], row["protocol"], row["asked"], row["verdict"], row["backend"] or "-", row["reason"]),
            row["service"] or "-",
        )
        more = (row["cgroup"] or str(row["cgroup_id"]), str(row["cookie"]))
        self._say((*cells, *more) if self._verbose else cells)

    def _say(self, cells: tuple[str, ...]) -> None:
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=False)]
        say("  ".join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)).rstrip())


def _since(text: str) -> float:
    """Read a moment as seconds since 1970."""
    with suppress(argparse.ArgumentTypeError):
        return time.time() - seconds(text)
    now = datetime.now().astimezone()
    try:
        found = datetime.fromisoformat(text if "-" in text else f"{now:%Y-%m-%d}T{text}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no moment ({text!r}); valid: {SINCE}") from error
    return found.astimezone().timestamp()


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"no number of lines ({text!r}); valid: 1 or more")
    return int(text)
