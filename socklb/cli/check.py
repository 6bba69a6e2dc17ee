"""`socklb check`: does this node serve? Real connections, by everybody who might make them, that harm nobody.

socklb check
socklb check --verbose                # what works one by one, too
socklb check --junit check.xml        # for machines
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from socklb import config
from socklb.check.checks import check
from socklb.check.result import FAILED, PASSED, SKIPPED, Result, failed, write_junit
from socklb.cli import output
from socklb.cli.output import Verbs, takes_a_file
from socklb.cli.usage import CHECK_CODES, CODES, usage
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError

DOES_NOT_WORK = 5


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    codes = {**CODES, **CHECK_CODES}
    about = "try whether this node serves; harms nobody"
    verb = verbs.add_parser("check", parents=[common], help=about, **usage(__doc__, codes))
    verb.add_argument("-v", "--verbose", action="store_true", help="what works one by one, too")
    verb.add_argument("--json", action="store_true", help="print JSON")
    takes_a_file(verb.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well"))
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Try everything and print what came of it. Exit code 5: something does not work."""
    settings = config.load(arguments.config)
    if not Pins(Path(settings.bpffs)).exist():
        raise SocklbError("no tables on this node", value=settings.bpffs, hint="socklb agent")
    began = time.monotonic()
    results = check(settings)
    if arguments.junit:
        write_junit(arguments.junit, settings.node, results, time.monotonic() - began)
    if arguments.json:
        output.json([result._asdict() for result in results])
    else:
        rows = results if arguments.verbose else list(_shortly(results))
        output.columns([("CHECK", "VERDICT", "AT", "SEEN", "NEXT"), *map(_line, rows)])
        output.say(f"\n{_sum(results)}")
    return DOES_NOT_WORK if failed(results) else 0


def _shortly(results: Sequence[Result]) -> Iterator[Result]:
    """Give what works of a kind, and alike, as one; then what does not."""
    for name in dict.fromkeys(result.check for result in results):
        of_kind = [result for result in results if result.check == name]
        for seen in dict.fromkeys(result.seen for result in of_kind if result.verdict == PASSED):
            some = [result for result in of_kind if (result.verdict, result.seen) == (PASSED, seen)]
            yield some[0] if len(some) == 1 else some[0]._replace(subject=f"{len(some)} of them")
        yield from (result for result in of_kind if result.verdict != PASSED)


def _line(result: Result) -> tuple[str, ...]:
    verdict = result.verdict.upper() if result.verdict == FAILED else result.verdict
    return result.check, verdict, result.subject, result.seen, result.next or "-"


def _sum(results: Sequence[Result]) -> str:
    counts = {verdict: sum(result.verdict == verdict for result in results) for verdict in (PASSED, FAILED, SKIPPED)}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
