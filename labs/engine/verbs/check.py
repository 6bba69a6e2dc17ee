"""lab check NAME [STEP]: judge what is recorded, without doing anything again.

Exit status as of `lab run`.
"""

import argparse

from labs.engine.language import gettext as _
from labs.engine.runner import exit_code, judge
from labs.engine.session import open_lab
from labs.engine.verbs.run import step_number


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")
    parser.add_argument("step", metavar="STEP", type=int, nargs="?", help="only this step")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    steps = session.lab.steps if options.step is None else [step_number(session, options.step)]
    claims = {step.title: judge(step, session.evidence) for step in steps}
    for step in steps:
        section, recorded = session.lab.section(step), session.evidence.of(step.key).recorded
        again = f"lab run {options.lab} --step {section.number}"
        when = _("recorded {time}").format(time=recorded) if recorded else _("next: {command}").format(command=again)
        heading = _("Step {number} · {title} ({when})")
        session.screen.heading(heading.format(number=section.number, title=section.title, when=when))
        session.screen.claims(claims[step.title])
    return exit_code([claim for of_step in claims.values() for claim in of_step])
