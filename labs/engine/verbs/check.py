"""lab check NAME [STEP]: judge what is recorded, without doing anything again.

Exit status as of `lab run`.
"""

import argparse

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
        recorded = session.evidence.of(step.key).recorded
        when = (
            f" (recorded {recorded})"
            if recorded
            else f" (next: lab run {options.lab} --step {session.lab.section(step).number})"
        )
        session.screen.heading(f"Step {session.lab.section(step).number} · {step.title}{when}")
        session.screen.claims(claims[step.title])
    return exit_code([claim for of_step in claims.values() for claim in of_step])
