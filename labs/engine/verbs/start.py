"""lab start NAME: make sure of the cluster, then open the lab at its first step that is not done."""

import argparse

from labs.engine import progress
from labs.engine.guide import open_guide
from labs.engine.model import CLUSTER
from labs.engine.progress import Open
from labs.engine.session import Session, open_lab
from labs.engine.stage import deploy, deployed


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    close_other(session)
    if deployed() == CLUSTER:
        changes = deploy(CLUSTER, session.screen)
        session.screen.line(f"The cluster is there; {changes or 'no'} changes.")
    session.prepare()
    steps = session.lab.steps
    left = [step for step in steps if not session.evidence.of(step.key).is_done]
    progress.write_open(Open(session.lab.name, (left or steps)[0].key))
    guide = open_guide()
    if len(left) == len(steps):
        guide.screen.heading(session.lab.prose.title)
        guide.screen.prose(session.lab.prose.intro)
    else:
        guide.screen.line(f"{len(steps) - len(left)} of {len(steps)} steps are done already.")
    guide.tell_what_next()
    return 0


def close_other(session: Session) -> None:
    """Another lab that is open may have changed the cluster: that is undone, what was recorded stays."""
    opened = progress.read_open()
    if opened and opened.lab != session.lab.name:
        session.screen.line(f"{opened.lab} is closed; what it recorded stays.")
        open_lab(opened.lab).restore()
