"""`socklb check`: test whether this node serves, with connections that harm nobody. Each kind of test has a row with a
verdict and the next command.

socklb check
socklb check --verbose                # what works one by one, too
socklb check --junit check.xml        # for machines
socklb check --all-nodes              # on every node, by kubectl in the pods of the DaemonSet
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from socklb import config
from socklb.check import all_nodes
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
    verb.add_argument("-v", "--verbose", action="store_true", help="also what works, one by one")
    verb.add_argument(
        "--all-nodes", action="store_true", help="by kubectl, on every node that has a pod of the DaemonSet"
    )
    verb.add_argument("--json", action="store_true", help="print JSON")
    takes_a_file(verb.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well"))
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Try everything and print what came of it. Exit code 5: something does not work."""
    began = time.monotonic()
    found = dict(all_nodes.check()) if arguments.all_nodes else _on_this_node(arguments.config)
    if arguments.junit:
        write_junit(arguments.junit, found, time.monotonic() - began)
    if arguments.json:
        output.json([_row(node, result, arguments) for node, results in found.items() for result in results])
    else:
        _print(found, arguments)
    return DOES_NOT_WORK if any(failed(results) for results in found.values()) else 0


def _on_this_node(file: Path) -> dict[str, list[Result]]:
    settings = config.load(file)
    if not Pins(Path(settings.bpffs)).exist():
        raise SocklbError("no tables on this node", value=settings.bpffs, hint="socklb agent")
    return {settings.node: check(settings)}


def _row(node: str, result: Result, arguments: argparse.Namespace) -> dict[str, str]:
    return {**({"node": node} if arguments.all_nodes else {}), **result._asdict()}


def _print(found: Mapping[str, Sequence[Result]], arguments: argparse.Namespace) -> None:
    lines = [("NODE", "CHECK", "VERDICT", "AT", "SEEN", "NEXT")]
    for node, results in found.items():
        lines += [(node, *_line(result)) for result in (results if arguments.verbose else _shortly(results))]
    output.columns(lines if arguments.all_nodes else [line[1:] for line in lines])
    output.say(f"\n{_sum([result for results in found.values() for result in results])}")


def _shortly(results: Sequence[Result]) -> Iterator[Result]:
    """Yield what works of a kind, and alike, as one; then what does not."""
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
