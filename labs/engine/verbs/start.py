"""lab start NAME: make sure of the cluster, then open the lab with its first step and what to type."""

import argparse
import json
import os
import subprocess
import sys

from labs.engine.errors import CannotRunError
from labs.engine.places import ROOT
from labs.engine.screen import Screen
from labs.engine.session import Session, open_lab

DEPLOY = ("inventory", "deploys/cluster.py", "-y", "--json", "--fail-percent", "0")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    deploy(session.screen)
    session.cluster  # noqa: B018 - the names of the addresses are known from here on
    _introduce(session)
    return 0


def deploy(screen: Screen) -> None:
    """By the command line: pyinfra as a library merges different operations of different hosts into one."""
    command = [sys.executable, "-m", "pyinfra", *DEPLOY]
    screen.line(f"$ {' '.join(['pyinfra', *DEPLOY])}", "bold cyan")
    # Its log goes to standard error as it runs: that is the progress to see. Standard output has the result.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    if done.returncode or not done.stdout:
        raise CannotRunError(f"the cluster could not be built (exit status {done.returncode}); the reason stands above")
    totals = json.loads(done.stdout)["results"]["totals"]
    if not totals["hosts"]:  # pyinfra ends well with an inventory of nobody
        raise CannotRunError("no host was reached: the inventory is empty")
    screen.line(f"The cluster is there; {totals['success'] or 'no'} changes.")


def _introduce(session: Session) -> None:
    lab, screen = session.lab, session.screen
    first = lab.prose.sections[0]
    screen.heading(lab.prose.title)
    screen.prose(lab.prose.intro)
    screen.heading(f"Step 1 of {len(lab.steps)} · {first.title}")
    screen.prose(first.why)
    screen.line()
    for command in first.typed:
        screen.line(f"$ {command}", "bold cyan")
    number = lab.name.partition("-")[0]
    screen.line()
    screen.line(f"Type it yourself, or see it done and judged: lab run {number} --step 1")
    screen.line(f"All steps at once: lab run {number}")
