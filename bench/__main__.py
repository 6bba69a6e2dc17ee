"""`python -m bench`: measure everything, as root on a machine where this project is set up.

python -m bench                                         # every figure in README.md
python -m bench latency --services 10,1000 --cycles 20  # one part, or less of it
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from bench import api, control, hooks, latency, packets, sync

PARTS = {
    "latency": "socket operations through socklb and through kube-proxy's rules, against no Service",
    "hooks": "nanoseconds of every hook beside an empty hook",
    "packets": "the verifier at an agent's start, and the sweep over all flows",
    "control": "CPU and memory of the agent",
    "sync": "from a folder of manifests to the kernel",
    "api": "from the Kubernetes API to the kernel",
}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line: which part, and how much of `latency`."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure every figure that is stated.")
    parser.set_defaults(services=latency.SERVICES, cycles=latency.CYCLES)
    parts = parser.add_subparsers(dest="part", metavar="PART")
    for name, purpose in PARTS.items():
        part = parts.add_parser(name, help=purpose)
        if name == "latency":
            what = "numbers of Services, as in 10,1000"
            part.add_argument("--services", type=counts, metavar="N,…", default=latency.SERVICES, help=what)
            what = f"turns of every column: {latency.CYCLES}"
            part.add_argument("--cycles", type=int, metavar="N", default=latency.CYCLES, help=what)
    return parser.parse_args(words)


def main() -> None:
    """Parse, measure, print."""
    arguments = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    run = {
        "latency": lambda: latency.main(arguments.services, arguments.cycles),
        "hooks": hooks.main,
        "packets": packets.main,
        "control": control.main,
        "sync": sync.main,
        "api": api.main,
    }
    for name in [arguments.part] if arguments.part else PARTS:
        run[name]()


def counts(text: str) -> tuple[int, ...]:
    """Parse numbers of Services."""
    return tuple(sorted(int(part) for part in text.split(",")))


def stop(number: int, _: FrameType | None) -> NoReturn:
    """End by an exception, like Ctrl-C, so that everything that was made is removed."""
    sys.exit(f"stopped by signal {number}")


if __name__ == "__main__":
    main()
