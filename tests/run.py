"""Runs every tier, as `make test` does: tests/e2e, which mostly waits for its cluster, beside all the others.

    python tests/run.py                 both at once; what tests/e2e says is in build/log/e2e.log, and shown at the end
    python tests/run.py -x -k udp       with arguments for pytest: one after the other, in one run

The exit code is 0 if everything passed.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Those that need least come first: what they find is found early.
TIERS = [f"tests/{tier}" for tier in ("unit", "datapath", "packets", "kube", "cluster", "nodes", "labs")]
E2E = "tests/e2e"
LOG = ROOT / "build" / "log" / "e2e.log"


def main(arguments: list[str]) -> int:
    if arguments:
        return subprocess.run(pytest(*TIERS, E2E, *arguments), check=False).returncode
    LOG.parent.mkdir(parents=True, exist_ok=True)
    print(f"{E2E} runs beside the others, into {LOG.relative_to(ROOT)}", flush=True)
    with LOG.open("w") as log:
        beside = subprocess.Popen(pytest(E2E, "--junit-xml=build/junit-e2e.xml"), stdout=log, stderr=log)
    others = subprocess.Popen(pytest(*TIERS, "--junit-xml=build/junit.xml"))
    try:
        others.wait()
        print(f"\n{LOG.relative_to(ROOT)}:", flush=True)
        show_until_it_ends(beside)
    except KeyboardInterrupt:  # they have it too, and clear away what they made
        print("Waiting for both to clear away what they made", flush=True)
        others.wait()
        beside.wait()
    return 1 if others.returncode or beside.returncode else 0


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def show_until_it_ends(process: subprocess.Popen[bytes]) -> None:
    with LOG.open() as log:
        ended = False
        while not ended:
            ended = process.poll() is not None
            print(log.read(), end="", flush=True)
            time.sleep(0 if ended else 0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
