"""lab start NAME: make sure of the cluster, then open the lab with its first step and what to type."""

import argparse

from labs.engine.model import CLUSTER
from labs.engine.session import Session, open_lab
from labs.engine.stage import deploy, deployed


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    if deployed() == CLUSTER:
        changes = deploy(CLUSTER, session.screen)
        session.screen.line(f"The cluster is there; {changes or 'no'} changes.")
    session.prepare()
    _introduce(session)
    return 0


def _introduce(session: Session) -> None:
    lab, screen = session.lab, session.screen
    first = lab.prose.sections[0]
    screen.heading(lab.prose.title)
    screen.prose(lab.prose.intro)
    screen.heading(f"Step 1 of {len(lab.steps)} · {first.title}")
    screen.prose(first.why)
    screen.line()
    for command in lab.steps[0].commands(session.env().on):
        screen.line(f"$ {command.typed}", "bold cyan")
    number = lab.number
    screen.line()
    screen.line(f"Type it yourself, or see it done and judged: lab run {number} --step 1")
    screen.line(f"All steps at once: lab run {number}")
