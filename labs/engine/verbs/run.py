"""lab run NAME...: every step with its evidence and its verdict, without a question asked.

NAME is a lab's number, its folder's name, or `all`. With --ci each step must also have been false before it was done.
Exit status: 0 all true, 1 a claim is false, 2 usage, 3 nothing could run, 4 the evidence is in doubt, 130 interrupted.
"""

import argparse
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from labs.engine import junit
from labs.engine.claims import Claim, Verdict
from labs.engine.errors import LabError
from labs.engine.language import gettext as _
from labs.engine.model import CLUSTER, Step, available
from labs.engine.progress import cut_off, run_begins
from labs.engine.runner import Result, exit_code, run_step, with_controls
from labs.engine.screen import Screen
from labs.engine.session import Session, open_lab

ALL = "all"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labs", metavar="NAME", nargs="+", help="its number, its folder's name, or all")
    parser.add_argument("--ci", action="store_true", help="demand also that each step was false before it was done")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the verdicts as JUnit XML")
    parser.add_argument("--step", metavar="N", type=int, help="only this step, and those that it builds on")


def run(options: argparse.Namespace) -> int:
    sessions = in_order([open_lab(name) for name in (available() if options.labs == [ALL] else options.labs)])
    if len(sessions) > 1 and options.step is not None:
        raise LabError(f"--step {options.step}: a step of which lab? Next: lab run 01 --step {options.step}")
    if options.junit and not options.junit.absolute().parent.is_dir():
        folder = options.junit.absolute().parent
        raise LabError(f"--junit {options.junit}: there is no folder {folder}. Next: mkdir -p {folder}")
    results: dict[str, list[Result]] = {}
    undo_what_was_cut_off()
    try:
        for session, following in zip_longest(sessions, sessions[1:]):
            results[session.lab.name] = []
            run_lab(session, results[session.lab.name], options.step, strict=options.ci, following=following)
    finally:  # verdicts before a step that cannot run are still useful
        if options.junit:
            junit.write(options.junit, results)
    if len(sessions) > 1:
        summary(Screen(), results)
    return exit_code([claim for of_lab in results.values() for claim in claims(of_lab)])


def undo_what_was_cut_off() -> None:
    """Undo a lab whose run was killed: others would find what it broke, and only its own reset knows what that was."""
    if (name := cut_off()) in available():
        open_lab(name).restore()


def in_order(sessions: Sequence[Session]) -> list[Session]:
    """Return them in an order in which the cluster is rebuilt as rarely as possible."""
    return sorted(sessions, key=lambda session: (session.lab.deploy != CLUSTER, session.lab.deploy))


def run_lab(
    session: Session, results: list[Result], number: int | None, *, strict: bool, following: Session | None = None
) -> None:
    """Run a lab, or one step of it. After a whole lab the cluster is as before it, or as the following lab needs it.

    What was recorded stays.
    """
    for step in opened(session, number):
        results.append(run_step(session.lab, step, session.env(step), session.evidence, strict=strict))  # noqa: PERF401
    if number is None:
        same = following is not None and following.lab.deploy == session.lab.deploy
        session.restore(None if same else CLUSTER)
    report(session, results, complete=number is None)


def opened(session: Session, number: int | None) -> list[Step]:
    """Return the steps to do. For a whole run everything of an earlier one is deleted, and the lab is introduced."""
    one = None if number is None else step_number(session, number)
    if one:
        session.prepare()
        return with_controls(one, session.evidence)
    session.restore(session.lab.deploy)  # also shows that the nodes are reachable before anything is deleted
    for step in session.lab.steps:
        session.evidence.wipe(step.key)
    run_begins(session.lab.name)
    session.introduce()
    session.prepare()
    return session.lab.steps


def step_number(session: Session, number: int) -> Step:
    steps = session.lab.steps
    if not 1 <= number <= len(steps):
        raise LabError(f"{session.lab.name} has no step {number}; its steps are 1 to {len(steps)}")
    return steps[number - 1]


def report(session: Session, results: Sequence[Result], *, complete: bool) -> None:
    judged = claims(results)
    if complete and exit_code(judged) == 0:
        session.screen.heading(_("What you have seen"))
        session.screen.prose(session.lab.prose.closing)
    session.screen.line()
    session.screen.line(counted(results), "bold")
    for result in results:
        if {claim.verdict for claim in result.claims} & {Verdict.FALSE, Verdict.DOUBT}:
            section, wrong = session.lab.section(result.step), _("Not all is true in step {number}, {title}.")
            session.screen.line(wrong.format(number=section.number, title=section.title), "bold red")


def summary(screen: Screen, results: dict[str, list[Result]]) -> None:
    screen.heading(_("All labs"))
    for name, of_lab in results.items():
        screen.line(f"{name:<24} {counted(of_lab)}", "bold red" if exit_code(claims(of_lab)) in (1, 4) else "")


def counted(results: Sequence[Result]) -> str:
    judged = [claim for claim in claims(results) if claim.verdict is not Verdict.SKIPPED]
    true = sum(claim.verdict is Verdict.TRUE for claim in judged)
    idle = sum(all(claim.verdict is Verdict.SKIPPED for claim in result.claims) for result in results)
    text = _("{true} of {count} claims are true, after {seconds:.0f} s.").format(
        true=true, count=len(judged), seconds=sum(result.seconds for result in results)
    )
    skipped = _("Skipped: {idle} of {count} steps.").format(idle=idle, count=len(results))
    return f"{text} {skipped}" if idle else text


def claims(results: Sequence[Result]) -> list[Claim]:
    return [claim for result in results for claim in result.claims]
