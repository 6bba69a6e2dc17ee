"""Runs every tier, as `make test` does, in two processes at once: each of them waits half of its time.

    python tests/run.py                 what the second says is in build/log/beside.log, and shown at the end
    python tests/run.py -x -k udp       with arguments for pytest: one after the other, in one run

The exit code is 0 if everything passed.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Each half takes about as long as the other; what uses the local cluster is in one.
FIRST = ["tests/datapath", "tests/packets", "tests/cluster", "tests/nodes", "tests/labs"]
BESIDE = ["tests/unit", "tests/kube", "tests/e2e"]
LOG = ROOT / "build" / "log" / "beside.log"


def main(arguments: list[str]) -> int:
    if arguments:
        return subprocess.run(pytest(*BESIDE, *FIRST, *arguments), check=False).returncode
    LOG.parent.mkdir(parents=True, exist_ok=True)
    print(f"{', '.join(BESIDE)} run beside these, into {LOG.relative_to(ROOT)}", flush=True)
    with LOG.open("w") as log:
        beside = subprocess.Popen(pytest(*BESIDE, "--junit-xml=build/junit-beside.xml"), stdout=log, stderr=log)
    first = subprocess.Popen(pytest(*FIRST, "--junit-xml=build/junit.xml"))
    try:
        first.wait()
        print(f"\n{LOG.relative_to(ROOT)}:", flush=True)
        show_until_it_ends(beside)
    except KeyboardInterrupt:  # they have it too, and clear away what they made
        print("Waiting for both to clear away what they made", flush=True)
        first.wait()
        beside.wait()
    return 1 if first.returncode or beside.returncode else 0


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
