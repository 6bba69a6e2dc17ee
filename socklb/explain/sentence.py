"""A verdict in one sentence: what the application sees, and why. Pure."""

from __future__ import annotations

import socket

from socklb.desired.at_frontend import Desired
from socklb.explain.by_hooks import some
from socklb.explain.trail import DROPPED, PASSED, REFUSED, TRANSLATED, Verdict
from socklb.model import Frontend, frontend_text


def sentence(asked: Frontend, verdict: Verdict, service: str, wanted: Desired | None) -> str:
    """Return the sentence. service: the Service, if known; wanted: the agent's desired state."""
    if verdict.outcome == TRANSLATED:
        chosen = f", {verdict.chosen}" if len(verdict.backends) > 1 or verdict.why else ""
        return f"{verdict.by} leads it to {some(verdict.backends)}{chosen}: {_whose(asked, service)}"
    why = _why(asked, verdict, service, wanted)
    if verdict.outcome == REFUSED:
        return f"{_refusal(asked, verdict)}: {why}"
    if verdict.outcome == DROPPED:
        return f"{verdict.by} drops it: {why}"
    if verdict.outcome == PASSED:
        return f"It goes to {frontend_text(asked)} as it is: {why}"
    return f"Not decided: {why}"


def _refusal(asked: Frontend, verdict: Verdict) -> str:
    if verdict.by.startswith("connect"):
        return "ECONNREFUSED"
    answer = "a TCP reset" if asked.protocol == socket.IPPROTO_TCP else "an ICMP error, port unreachable"
    return f"ECONNREFUSED, by {answer} from {verdict.by}"


def _why(asked: Frontend, verdict: Verdict, service: str, wanted: Desired | None) -> str:
    """Return the reason, from the Service's objects if they explain it."""
    if not verdict.why.startswith("nobody serves it"):
        whose = [service] if service and "no Service" not in verdict.why else wanted.sole if wanted else []
        return verdict.why + (f" (Service {', '.join(whose)})" if whose else "")
    reason = (wanted.why_outside if verdict.outcome == DROPPED else wanted.why) if wanted else ""
    local = " on this node" if "Policy is Local" in reason else ""
    rest = verdict.why.removeprefix("nobody serves it")
    if not reason:
        reason = "the API has endpoints that the tables lack" if wanted else "no agent answers that could say why"
    return f"{_whose(asked, service)} has no ready endpoint{local}: {reason}{rest}"


def _whose(asked: Frontend, service: str) -> str:
    return f"Service {service}" if service else f"the Service of {frontend_text(asked)}"
