"""lab goto N: open step N, with everything before it done from clean, as a reader of the page would have done it."""

import argparse
import io

from rich.console import Console

from labs.engine.guide import open_guide
from labs.engine.language import gettext as _
from labs.engine.runner import exit_code, run_step
from labs.engine.screen import Screen
from labs.engine.session import Session
from labs.engine.verbs.run import step_number


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("step", metavar="N", type=int, help="a step of the open lab")


def run(options: argparse.Namespace) -> int:
    guide = open_guide()
    wanted = step_number(guide.session, options.step)
    guide.session.restore()
    guide.session.prepare()
    unseen = Session(guide.lab, Screen(Console(file=io.StringIO())))
    for step in guide.lab.steps:
        unseen.evidence.wipe(step.key)
    for step in guide.lab.steps[: options.step - 1]:
        result = run_step(guide.lab, step, unseen.env(step), unseen.evidence, strict=False)
        section = guide.lab.section(step)
        told = (
            _("Step {number}, {title}: done")
            if exit_code(result.claims) in (0, 3)
            else _("Step {number}, {title}: not all is true. Next: lab check {lab} {number}")
        )
        guide.screen.line(told.format(number=section.number, title=section.title, lab=guide.lab.number), "dim")
    guide.go(wanted).tell_what_next()
    return 0
