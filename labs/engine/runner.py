"""Go through a lab's steps: explain, act, show what was seen, judge.

With strict=True (`lab run --ci`) every step must also have been false before the reader's act, with everything else of
it done: a check that is true at that point does not depend on the act, and is itself in doubt.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from labs.engine.capture import Look, Report
from labs.engine.claims import Claim, Verdict
from labs.engine.env import Env
from labs.engine.errors import BrokenCaptureError, CannotRunError, LabError, NothingRecordedError
from labs.engine.evidence import Evidence
from labs.engine.model import Lab, Step, begun
from labs.engine.needs import Need
from labs.engine.places import Output
from socklb.errors import reason


@dataclass(frozen=True)
class Result:
    step: Step
    claims: tuple[Claim, ...]
    seconds: float


def judge(step: Step, evidence: Evidence) -> list[Claim]:
    """Return the step's claims, from what has been recorded."""
    if evidence.of(step.key).recorded is None:
        return [Claim("the step is done", "nothing is recorded of it yet", Verdict.FALSE)]
    missing = [other.title for other in step.builds_on if evidence.of(other.key).recorded is None]
    if missing:
        return [Claim("its control is there", f"nothing is recorded of: {', '.join(missing)}", Verdict.DOUBT)]
    return claims_of(step, evidence)


def run_step(lab: Lab, step: Step, env: Env, evidence: Evidence, *, strict: bool) -> Result:
    started = time.monotonic()
    section = lab.section(step)
    env = replace(env, seen=evidence.of(step.key))
    env.screen.heading(lab.heading(step))
    env.screen.prose(section.why)
    evidence.wipe(step.key)
    claims = skipped(lab.needs_of(step), env, strict=strict) or _do(step, env, evidence, strict=strict)
    env.screen.claims(claims)
    env.screen.prose(section.meaning)
    seconds = time.monotonic() - started
    evidence.of(step.key).judged(claims, seconds)
    return Result(step, tuple(claims), seconds)


def with_controls(step: Step, evidence: Evidence) -> list[Step]:
    """Return the step, after those of its `builds_on` that are not recorded."""
    return [*(other for other in step.builds_on if evidence.of(other.key).recorded is None), step]


def skipped(needs: Sequence[Need], env: Env, *, strict: bool) -> list[Claim]:
    """Return why the step is not tried; empty if everything it needs exists."""
    reasons = [(need, reason) for need in needs if (reason := need.missing(env))]
    return [
        Claim(
            "what the step needs is there", reason, Verdict.FALSE if strict and not need.excuses_ci else Verdict.SKIPPED
        )
        for need, reason in reasons
    ]


def exit_code(claims: Sequence[Claim]) -> int:
    """Return the exit code. Doubt takes precedence: evidence that may be wrong says nothing about the product."""
    verdicts = {claim.verdict for claim in claims}
    if Verdict.DOUBT in verdicts:
        return BrokenCaptureError.exit_code
    if verdicts == {Verdict.SKIPPED}:
        return CannotRunError.exit_code
    return 1 if Verdict.FALSE in verdicts else 0


@contextmanager
def captured(looks: Sequence[Look], env: Env) -> Generator[None]:
    """Capture at all of these places within the block. What was captured so far can be read in the block too."""
    reports: list[tuple[Look, Report]] = []
    with ExitStack() as stack:
        for look in looks:
            reports.append((look, stack.enter_context(env.recording(look))))  # noqa: PERF401 - it is entered
        for look, report in reports:
            env.keep(look, report, growing=True)
        yield
    for look, report in reports:
        env.keep(look, report)


def perform(step: Step, env: Env) -> list[Output]:
    """Run the commands of the step's act, and show them."""
    outputs: list[Output] = []
    for act in step.acts:
        doing = begun(act, env.on)
        command = next(doing)
        while True:
            outputs.append(env.run(command))
            try:
                command = doing.send(outputs[-1])
            except StopIteration:
                break
    return outputs


def observe(step: Step, env: Env) -> None:
    for part in step.observes:
        part(env)


def _do(step: Step, env: Env, evidence: Evidence, *, strict: bool) -> list[Claim]:
    before: list[Claim] = []
    looks = step.where(env.on)
    try:
        for part in step.prepares:
            part(env)
        with captured(looks, env):
            if strict:
                observe(step, env)
                before.append(_false_before(step, evidence))
            env.seen.typed(perform(step, env))
        observe(step, env)
    except BrokenCaptureError as error:
        return [*before, Claim("the evidence can be recorded", str(error), Verdict.DOUBT)]
    for look in looks:
        if look.fold:
            env.show(look)
    evidence.of(step.key).done()
    return [*before, *judge(step, evidence)]


def claims_of(step: Step, evidence: Evidence) -> list[Claim]:
    """Return the claims of a step that may not be over."""
    seen = evidence.of(step.key)
    try:
        return [claim for check in step.checks for claim in check(seen)]
    except NothingRecordedError as error:
        return [Claim("the step is done to its end", str(error), Verdict.FALSE)]
    except BrokenCaptureError as error:
        return [Claim("the evidence can be read", str(error), Verdict.DOUBT)]
    except LabError:
        raise
    except Exception as error:  # noqa: BLE001 - a check reads what somebody typed, and what files say
        why = f"this step's check can make nothing of what was recorded: {reason(error)}"
        return [Claim("the evidence can be read", why, Verdict.DOUBT)]


def _false_before(step: Step, evidence: Evidence) -> Claim:
    """Run the check itself, before anything was typed."""
    must = "before it is done, the step's check is false"
    try:
        claims = claims_of(step, evidence)
    except LabError as error:
        return Claim(must, str(error), Verdict.TRUE)
    verdict = Verdict.DOUBT if exit_code(claims) == 0 else Verdict.TRUE
    return Claim(must, f"{sum(c.verdict is Verdict.TRUE for c in claims)} of {len(claims)} claims were true", verdict)
