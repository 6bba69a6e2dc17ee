"""`make chaos`: a walk of SECONDS by SEED, on a node of its own or ON a cluster that exists.

    python -m tests.chaos --seconds 600 --seed 1
    python -m tests.chaos --only "agent killed" --only "hooks detached"
    python -m tests.chaos --on kind                 or local

A walk that fails, or whose rig does, keeps its history in build/chaos-SEED/, with a page timeline.html. Exit code 1: a
violation was found. Ctrl-C ends a walk early, with what it has reached.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from inventory.connectors.this_machine import NodeError
from labs.engine.errors import LabError
from labs.engine.target import Target, open_target
from tests.chaos import timeline
from tests.chaos.cluster import faults as cluster_faults
from tests.chaos.cluster.walk import walk_on
from tests.chaos.faults import FAULTS
from tests.chaos.rig import ROOT
from tests.chaos.walk import Walk, walk_once
from tests.kube.conftest import control_plane_programs

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="a fault by its name; may be repeated")
    parser.add_argument("--on", choices=("node", "local", "kind"), default="node")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away
    faulthandler.register(signal.SIGUSR1)
    home = Path(tempfile.mkdtemp(prefix="socklb-chaos-"))
    try:
        return walk(home, asked.on, asked.seconds, asked.seed, tuple(asked.only))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def walk(home: Path, on: str, seconds: float, seed: int, only: tuple[str, ...]) -> int:
    with (home / "walk.jsonl").open("w") as log:
        tell = timeline.writer(log, loud=True)
        try:
            if on == "node":
                every = FAULTS
                known = [every[name] for name in only]
                walked = walk_once(control_plane_programs(), home, seed, tell, lambda it: it.run(seconds, known))
            else:
                target = cluster(on)
                every = cluster_faults.FAULTS | (cluster_faults.OF_API if target.cluster.control_plane else {})
                known = [every[name] for name in only or sorted(every)]
                walked = walk_on(target, home, seed, tell, lambda it: it.run(seconds, known))
        except Exception:  # of the rig
            log.flush()
            keep(home, ROOT / "build" / f"chaos-{seed}")
            raise
    print(summary(walked, seed, sorted(every)))
    if walked.outcome.violations:
        keep(home, ROOT / "build" / f"chaos-{seed}")
    return 1 if walked.outcome.violations else INTERRUPTED if walked.outcome.interrupted else 0


def cluster(name: str) -> Target:
    """Return the cluster of an inventory, as it is there."""
    os.environ["SOCKLB_INVENTORY"] = name
    try:
        target = open_target()
        assert target.cluster.pods
    except (LabError, NodeError, AssertionError) as error:
        sys.exit(
            f"there is no {name} cluster to walk on. Next: make {'cluster' if name == 'local' else 'kind'}\n{error}"
        )
    return target


def summary(walked: Walk, seed: int, names: list[str]) -> str:
    out, oracle, memory = walked.outcome, walked.oracle, walked.memory
    slopes = ", ".join(f"{slope:+.2f}" for slope in memory.slopes()) or "no life was long enough"
    lines = [
        f"seed {seed}: {out.faults.total()} faults in {out.steps} steps, {walked.churn.changes} changes of endpoints",
        f"{oracle.connects} connects and datagrams, {oracle.excused} failed while a fault excused it",
        f"slowest to be well again: {out.slowest:.1f} s after {out.slowest_after}",
        f"memory: {memory.most:.0f} MB at most; growth in MB a minute of long lives: {slopes}",
        *(f"{out.faults[name]:6}  {name}" for name in names),
        f"{len(out.violations)} violations" + ", until it was interrupted: leaks were not looked for" * out.interrupted,
    ]
    return "\n".join(lines)


def keep(home: Path, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for file in [*home.glob("*.jsonl"), *home.glob("*.log"), *home.glob("*.err")]:
        shutil.copy(file, to)
    print(f"the history is in {to}, and {timeline.write(to)} shows it")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
