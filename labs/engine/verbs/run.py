"""lab run NAME: every step with its evidence and its verdict, without a question asked.

With --ci each step must also have been false before it was done. Exit status: 0 all true, 1 a claim is false, 2 usage,
3 nothing could run, 4 the evidence is in doubt, 130 interrupted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from labs.engine import junit
from labs.engine.claims import Verdict
from labs.engine.errors import LabError
from labs.engine.model import Step
from labs.engine.runner import Result, exit_code, run_step, undo, with_needs
from labs.engine.session import Session, open_lab


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lab", metavar="NAME", help="its number, or its folder's name")
    parser.add_argument("--ci", action="store_true", help="demand also that each step was false before it was done")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the verdicts as JUnit XML")
    parser.add_argument("--step", metavar="N", type=int, help="only this step, and those that it leans on")


def run(options: argparse.Namespace) -> int:
    session = open_lab(options.lab)
    if options.junit and not options.junit.absolute().parent.is_dir():
        folder = options.junit.absolute().parent
        raise LabError(f"--junit {options.junit}: there is no folder {folder}. Next: mkdir -p {folder}")
    results: list[Result] = []
    try:
        results.extend(
            run_step(session.lab, step, session.env(step.key), session.evidence, strict=options.ci)
            for step in opened(session, options.step)
        )
    finally:  # what was judged before a step that cannot run is still worth reading
        if options.junit:
            junit.write(options.junit, session.lab.name, results)
    return report(session, results, complete=options.step is None)


def opened(session: Session, number: int | None) -> list[Step]:
    """The steps to do. For a whole run nothing of an earlier one is left, and the lab is introduced."""
    one = None if number is None else step_number(session, number)
    undo(session.lab, session.env)  # also shows that the nodes can be reached, before anything is wiped
    if one:
        return with_needs(one, session.evidence)
    for step in session.lab.steps:
        session.evidence.wipe(step.key)
    session.screen.heading(session.lab.prose.title)
    session.screen.prose(session.lab.prose.intro)
    return session.lab.steps


def step_number(session: Session, number: int) -> Step:
    steps = session.lab.steps
    if not 1 <= number <= len(steps):
        raise LabError(f"{session.lab.name} has no step {number}; its steps are 1 to {len(steps)}")
    return steps[number - 1]


def report(session: Session, results: Sequence[Result], *, complete: bool) -> int:
    claims = [claim for result in results for claim in result.claims]
    code = exit_code(claims)
    screen, true = session.screen, sum(claim.verdict is Verdict.TRUE for claim in claims)
    if complete and code == 0:
        screen.heading("What you have seen")
        screen.prose(session.lab.prose.closing)
    screen.line()
    seconds = sum(result.seconds for result in results)
    screen.line(f"{true} of {len(claims)} claims are true, after {seconds:.0f} s.", "bold")
    for result in results:
        if exit_code(result.claims):
            screen.line(
                f"Not all is true in step {session.lab.section(result.step).number}, {result.step.title}.", "bold red"
            )
    return code
