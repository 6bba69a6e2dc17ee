"""`python -m bench`: measure everything, as root on a machine where this project is set up.

python -m bench                                         # every part, into one file in build/bench
python -m bench latency --services 10,1000 --cycles 20  # one part, or less of it
python -m bench compare build/bench/A.json build/bench/B.json
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import api, compare, control, hooks, latency, packets, sync
from bench.figures import Figure, print_tables
from bench.latency_report import print_latency
from bench.peers import part as peers
from bench.runs import FOLDER, Record
from socklb.errors import SocklbError


@dataclass(frozen=True)
class Part:
    """One part: what it measures, and how its tables are printed."""

    purpose: str
    measure: Callable[[argparse.Namespace], list[Figure]]
    show: Callable[[Sequence[Figure]], None] = print_tables


PARTS: dict[str, Part] = {
    "latency": Part(
        "socket operations through socklb and through kube-proxy's rules, against no Service",
        lambda asked: latency.measure(asked.services, asked.cycles),
        print_latency,
    ),
    "hooks": Part("nanoseconds of every hook beside an empty hook", lambda _: hooks.measure()),
    "packets": Part("the verifier at an agent's start, and the sweep over all flows", lambda _: packets.measure()),
    "control": Part("CPU and memory of the agent", lambda _: control.measure()),
    "sync": Part("from a folder of manifests to the kernel", lambda _: sync.measure()),
    "peers": Part(
        "the agent beside the real kube-proxy, on one API server",
        lambda asked: peers.measure(asked.of_peers, asked.changes),
    ),
    "api": Part("from the Kubernetes API to the kernel", lambda _: api.measure()),
}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line: which part, and how much of it; or what to do with runs."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure every figure that is stated.")
    parser.set_defaults(services=latency.SERVICES, cycles=latency.CYCLES, into=FOLDER)
    parser.set_defaults(of_peers=peers.SERVICES, changes=peers.CHANGES)
    verbs = parser.add_subparsers(dest="verb", metavar="PART")
    for name, part in PARTS.items():
        verb = verbs.add_parser(name, help=part.purpose)
        verb.add_argument("--into", type=Path, metavar="FOLDER", default=FOLDER, help="the folder for the run's file")
        if name == "latency":
            what = "numbers of Services, as in 10,1000"
            verb.add_argument("--services", type=counts, metavar="N,…", default=latency.SERVICES, help=what)
            what = f"turns of every column: {latency.CYCLES}"
            verb.add_argument("--cycles", type=int, metavar="N", default=latency.CYCLES, help=what)
        if name == "peers":
            what = f"number of Services: {peers.SERVICES}"
            verb.add_argument("--services", type=int, metavar="N", dest="of_peers", default=peers.SERVICES, help=what)
            what = f"changes of each kind: {peers.CHANGES}"
            verb.add_argument("--changes", type=int, metavar="N", default=peers.CHANGES, help=what)
    verb = verbs.add_parser("compare", help="two runs beside each other: what differs by more than noise")
    verb.add_argument("runs", type=Path, nargs=2, metavar="RUN.json")
    return parser.parse_args(words)


def main() -> None:
    """Parse and act."""
    asked = parse()
    try:
        if asked.verb == "compare":
            compare.main(*asked.runs)
        else:
            measure(asked)
    except SocklbError as error:
        sys.exit(f"python -m bench: {error}")


def measure(asked: argparse.Namespace) -> None:
    """Measure, print, and keep the run."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    record = Record(asked.into)
    for name in [asked.verb] if asked.verb else PARTS:
        found = PARTS[name].measure(asked)
        PARTS[name].show(found)
        record.add(found)
    print(f"\nThe run: {record.path}", file=sys.stderr)


def counts(text: str) -> tuple[int, ...]:
    """Parse numbers of Services."""
    return tuple(sorted(int(part) for part in text.split(",")))


def stop(number: int, _: FrameType | None) -> NoReturn:
    """End by an exception, like Ctrl-C, so that everything that was made is removed."""
    sys.exit(f"stopped by signal {number}")


if __name__ == "__main__":
    main()
