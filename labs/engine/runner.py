"""Walk through a lab's steps: say why, do it, show what was seen, judge.

With strict=True (`lab run --ci`) every step must also have been false before it was done: a check that is true without
evidence does not look at it, and is itself in doubt.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from labs.engine.claims import Claim, Verdict
from labs.engine.env import Env
from labs.engine.errors import BrokenCaptureError, LabError, NothingRecordedError
from labs.engine.evidence import Evidence
from labs.engine.model import Lab, Step


@dataclass(frozen=True)
class Result:
    step: Step
    claims: tuple[Claim, ...]
    seconds: float


def judge(step: Step, evidence: Evidence) -> list[Claim]:
    """The step's claims, from what is recorded now."""
    seen = evidence.of(step.key)
    if seen.recorded is None:
        return [Claim("the step is done", "nothing is recorded of it yet", Verdict.FALSE)]
    missing = [need.title for need in step.needs if evidence.of(need.key).recorded is None]
    if missing:
        return [Claim("its control is there", f"nothing is recorded of: {', '.join(missing)}", Verdict.DOUBT)]
    try:
        return [claim for check in step.checks for claim in check(seen)]
    except NothingRecordedError as error:
        return [Claim("the step is done to its end", str(error), Verdict.FALSE)]
    except BrokenCaptureError as error:
        return [Claim("the evidence can be read", str(error), Verdict.DOUBT)]


def run_step(lab: Lab, step: Step, env: Env, evidence: Evidence, *, strict: bool) -> Result:
    started = time.monotonic()
    section = lab.section(step)
    env.screen.heading(f"Step {section.number} of {len(lab.steps)} · {step.title}")
    env.screen.prose(section.why)
    evidence.wipe(step.key)
    before = [_false_before(step, evidence)] if strict else []
    claims = [*before, *_do(step, env, evidence)]
    env.screen.claims(claims)
    env.screen.prose(section.meaning)
    return Result(step, tuple(claims), time.monotonic() - started)


def with_needs(step: Step, evidence: Evidence) -> list[Step]:
    """The step, after those that it leans on and that are not recorded."""
    return [*(need for need in step.needs if evidence.of(need.key).recorded is None), step]


def exit_code(claims: Sequence[Claim]) -> int:
    """Doubt comes first: evidence that may be wrong says nothing about the product."""
    verdicts = {claim.verdict for claim in claims}
    if Verdict.DOUBT in verdicts:
        return BrokenCaptureError.exit_code
    return 1 if Verdict.FALSE in verdicts else 0


def undo(lab: Lab, env_of: Callable[[str], Env]) -> None:
    env = env_of("reset")  # a cluster that is not there is told of before anything is forgotten
    for function in lab.undo:
        function(env)


def _do(step: Step, env: Env, evidence: Evidence) -> list[Claim]:
    try:
        for act in step.acts:
            act(replace(env, evidence=evidence.of(step.key)))
    except BrokenCaptureError as error:
        return [Claim("the evidence can be recorded", str(error), Verdict.DOUBT)]
    evidence.of(step.key).done()
    return judge(step, evidence)


def _false_before(step: Step, evidence: Evidence) -> Claim:
    """Ask the check itself, with the step's evidence gone."""
    seen = evidence.of(step.key)
    try:
        claims = [claim for check in step.checks for claim in check(seen)]
    except LabError as error:
        return Claim("before it is done, the step's check is false", str(error), Verdict.TRUE)
    verdict = Verdict.DOUBT if exit_code(claims) == 0 else Verdict.TRUE
    return Claim("before it is done, the step's check is false", f"{len(claims)} claims could be judged", verdict)
