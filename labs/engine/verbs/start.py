"""lab start NAME: make sure of the cluster, then open the lab at its first step that is not done."""

import argparse

from labs.engine import progress
from labs.engine.guide import open_guide
from labs.engine.language import gettext as _
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
        session.screen.line(_("The cluster is there; {count} changes.").format(count=changes or _("no")))
    session.prepare()
    steps = session.lab.steps
    left = [step for step in steps if not session.evidence.of(step.key).is_done]
    progress.write_open(Open(session.lab.name, (left or steps)[0].key))
    guide = open_guide()
    if len(left) == len(steps):
        session.introduce()
    else:
        done = _("{done} of {count} steps are done already.")
        guide.screen.line(done.format(done=len(steps) - len(left), count=len(steps)))
    guide.tell_what_next()
    return 0


def close_other(session: Session) -> None:
    """Restore the cluster if another lab is open, which may have changed it; what that recorded stays."""
    opened = progress.read_open()
    if opened and opened.lab != session.lab.name:
        session.screen.line(_("{lab} is closed; what it recorded stays.").format(lab=opened.lab))
        open_lab(opened.lab).restore()
