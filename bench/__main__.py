"""`python -m bench`: measure everything, as root on a machine where this project is set up.

python -m bench                                         # every part, into one file in build/bench
python -m bench latency --services 10,1000 --cycles 20  # one part, or less of it
python -m bench compare build/bench/A.json build/bench/B.json
python -m bench page build/bench/A.json                 # docs/performance.md from it
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

from bench import api, compare, control, hooks, latency, packets, page, sync, upgrade
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
    "upgrade": Part(
        "what clients notice of restarts and upgrades of the agent", lambda asked: upgrade.measure(asked.rounds)
    ),
    "api": Part("from the Kubernetes API to the kernel", lambda _: api.measure()),
}

OF_RUNS: dict[str, tuple[int | str, Callable[..., None], str]] = {
    "compare": (2, compare.main, "Two runs beside each other: which figures differ by more than their noise."),
    "page": ("*", page.main, "docs/performance.md and its pictures, from a run, or from the last one."),
}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse which parts are measured, and how much of them."""
    parts = "\n".join(f"  {name:9} {part.purpose}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure every figure that is stated, or only some parts:\n{parts}",
        epilog="`python -m bench compare A.json B.json` and `python -m bench page RUN.json` say what runs have found.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=argparse.SUPPRESS)
    option = parser.add_argument
    option("--into", type=Path, metavar="FOLDER", default=FOLDER, help="the folder for the run's file")
    option("--services", type=counts, metavar="N,…", default=latency.SERVICES, help="of latency, as in 10,1000")
    option("--cycles", type=int, metavar="N", default=latency.CYCLES, help="turns of every column of latency")
    option("--of-peers", type=int, metavar="N", default=peers.SERVICES, help="Services for peers")
    option("--changes", type=int, metavar="N", default=peers.CHANGES, help="changes of each kind, for peers")
    option("--rounds", type=int, metavar="N", default=upgrade.ROUNDS, help="of upgrade")
    asked = parser.parse_args(words)
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; valid: {', '.join(PARTS)}")
    return asked


def main() -> None:
    """Parse and act."""
    verb, *rest = sys.argv[1:] or [""]
    try:
        if verb in OF_RUNS:
            of_runs(verb, rest)
        else:
            measure(parse(sys.argv[1:]))
    except SocklbError as error:
        sys.exit(f"python -m bench: {error}")


def of_runs(verb: str, words: Sequence[str]) -> None:
    """Act on the files of runs."""
    number, act, purpose = OF_RUNS[verb]
    parser = argparse.ArgumentParser(prog=f"python -m bench {verb}", description=purpose)
    parser.add_argument("runs", type=Path, nargs=number, metavar="RUN.json")
    act(*parser.parse_args(words).runs)


def measure(asked: argparse.Namespace) -> None:
    """Measure, print, and keep the run."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    record = Record(asked.into)
    for name in asked.parts or PARTS:
        found = [figure.rounded for figure in PARTS[name].measure(asked)]
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
