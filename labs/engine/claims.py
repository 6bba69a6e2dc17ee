"""The claims that a lab can make: a few, each a sentence with what was observed.

    first(SYN, capture, to=backends)                      the first SYN went to one of these
    handshake(capture)                                    SYN, SYN-ACK, ACK, between the same two ends
    sees(capture, service)                                at least one packet from or to this endpoint
    never(capture, service, control=outside)              no packet at all: only beside a control that saw one
    absent(what, found, control=...)                      the same for things other than packets (rules, table entries)
    answered(capture, on, must)                           each connection is with the pod that answered it
    says(must, output, text)                              the output of a command that the reader typed
    equal / within / true                                 a recorded value is what it should be

An absence is also true if the capture is broken, so `never` and `absent` require a control: the same look at the same
place while the feature is off, which must have found something. If a control found nothing, the claim is DOUBT, not
TRUE.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labs.engine.capture import Capture
from labs.engine.ladder import name
from labs.engine.packet import Endpoint, Packet
from labs.engine.places import Output
from labs.engine.scenario import Scenario

SYN, SYN_ACK, ACK = "SYN", "SYN,ACK", "ACK"


class Verdict(StrEnum):
    TRUE = "true"
    FALSE = "false"
    DOUBT = "doubt"  # a problem of the harness, not of the product: this evidence proves nothing
    SKIPPED = "skipped"  # not tried: this cluster or machine lacks what is needed


@dataclass(frozen=True)
class Claim:
    must: str  # what must hold
    seen: str  # what was observed
    verdict: Verdict


def true(must: str, holds: bool, seen: str) -> Claim:
    return Claim(must, seen, Verdict.TRUE if holds else Verdict.FALSE)


def equal(must: str, got: object, want: object) -> Claim:
    return true(must, got == want, f"{got}" if got == want else f"{got}, where {want} was expected")


def within(must: str, got: Collection[str], allowed: Collection[str]) -> Claim:
    """Claim that something was seen, and nothing except what is allowed."""
    found, others = sorted({*got} - {""}), sorted({*got} - {*allowed, ""})
    seen = ", ".join(found) or "nothing"
    return true(must, bool(found) and not others, f"{seen}; not allowed: {', '.join(others)}" if others else seen)


def sees(capture: Capture, endpoint: Endpoint, must: str = "") -> Claim:
    matching = _matching(capture, endpoint)
    must = must or f"{_called(endpoint, capture)} is on the wire"
    return _unless_broken(capture, true(must, bool(matching), _count(matching, capture)))


def control(capture: Capture, endpoint: Endpoint, must: str = "") -> Claim:
    """Claim the same as `sees`, for a capture that shows that the harness can see: a failure is DOUBT, not FALSE."""
    claim = sees(capture, endpoint, must)
    return claim if claim.verdict is Verdict.TRUE else Claim(claim.must, claim.seen, Verdict.DOUBT)


def never(capture: Capture, endpoint: Endpoint, *, control: Capture, must: str = "") -> Claim:
    """Claim no packet from or to this endpoint, in a capture that saw other traffic, beside a control that saw the
    endpoint.
    """
    must = must or f"{_called(endpoint, capture)} never appears"
    doubt = _doubt(capture, endpoint, control)
    if doubt:
        return Claim(must, doubt, Verdict.DOUBT)
    matching = _matching(capture, endpoint)
    shown = len(_matching(control, endpoint))
    seen = f"{_count(matching, capture)} (control: {shown} of {len(control.packets)})"
    return true(must, not matching, seen)


def first(flags: str, capture: Capture, *, to: Collection[Endpoint], must: str) -> Claim:
    """Claim that the first TCP packet with exactly these flags goes to one of these endpoints."""
    packet = next((p for p in capture.packets if p.protocol == "tcp" and p.note == flags), None)
    if packet is None:
        return _unless_broken(capture, true(must, False, f"no {flags} among {len(capture.packets)} packets"))
    return true(must, packet.target in to, f"{flags} to {name(packet.target, capture.names)} ({packet.target})")


def handshake(capture: Capture, must: str) -> Claim:
    """Claim that the first SYN is answered by a SYN-ACK from its destination, and that by an ACK."""
    tcp = [p for p in capture.packets if p.protocol == "tcp"]
    start = next((i for i, p in enumerate(tcp) if p.note == SYN), None)
    if start is None:
        return _unless_broken(capture, true(must, False, f"no SYN among {len(capture.packets)} packets"))
    syn = tcp[start]
    flow = [p for p in tcp[start:] if {p.source, p.target} == {syn.source, syn.target}][:3]
    wanted = [(syn.source, SYN), (syn.target, SYN_ACK), (syn.source, ACK)]
    seen = " → ".join(f"{p.note} from {name(Endpoint(p.source.address), capture.names)}" for p in flow)
    return true(must, [(p.source, p.note) for p in flow] == wanted, seen)


def answered(capture: Capture, on: Scenario, must: str, at_least: int = 1) -> Claim:
    """Claim that each connection of the capture is answered, by the pod that it is with from its first packet on."""
    seen = [(on.pod_at(one.server), on.pod_called(one.reply) or "nobody") for one in capture.conversations]
    wrong = [f"a connection with {pod} is answered by {who}" for pod, who in seen if pod != who]
    right = f"{len(seen)} with {', '.join(sorted({pod for pod, _ in seen}))}" if seen else "no connection"
    found, enough = wrong[0] if wrong else right, len(seen) >= at_least
    claim = true(must, not wrong and enough, found if enough else f"{found}; {at_least} are wanted")
    return _unless_broken(capture, claim)


def says(must: str, output: Output, text: str) -> Claim:
    """Claim that the output contains the text; the line with it is shown, or the last one if there is none."""
    lines = (output.out + output.err).strip().splitlines()
    found = next((line for line in lines if text in line), None)
    return true(must, found is not None, (found or (lines[-1] if lines else "no output")).strip())


def absent(must: str, found: Sequence[str], *, control: Sequence[str]) -> Claim:
    """Claim that none of these was found, by a look that found some where they exist."""
    if not control:
        return Claim(must, "the control found none either: this look cannot see any", Verdict.DOUBT)
    seen = f"none (the control shows {len(control)})" if not found else f"{len(found)}: {found[0]}"
    return true(must, not found, seen)


def _doubt(capture: Capture, endpoint: Endpoint, control: Capture) -> str | None:
    """Return why this absence would prove nothing; None if it would."""
    if broken := capture.broken or control.broken:
        return broken
    if not capture.packets:
        return "the capture holds no packet at all: it proves nothing"
    if (capture.place, capture.interface, capture.filter) != (control.place, control.interface, control.filter):
        return f"the control looked elsewhere: {control.where}, and this capture {capture.where}"
    if not _matching(control, endpoint):
        return f"the control did not see {endpoint} either, in {len(control.packets)} packets: can this filter see it?"
    return None


def _unless_broken(capture: Capture, claim: Claim) -> Claim:
    return Claim(claim.must, capture.broken, Verdict.DOUBT) if capture.broken else claim


def _matching(capture: Capture, endpoint: Endpoint) -> list[Packet]:
    return [packet for packet in capture.packets if packet.involves(endpoint)]


def _count(matching: Sequence[Packet], capture: Capture) -> str:
    return f"{len(matching)} of {len(capture.packets)} packets"


def _called(endpoint: Endpoint, capture: Capture) -> str:
    known = name(endpoint, capture.names)
    return known if known == str(endpoint) else f"{known} ({endpoint})"
