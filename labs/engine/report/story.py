"""The contents of the page for each lab: its README's text beside what its steps have recorded, ready for the
templates.

    stories = [tell_lab(session) for session in sessions]

A step that is in progress, or was never done, is shown as far as it goes. Captures of the same look at the same place
are side by side: a step's own, and the control's before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from labs.engine.capture import Capture
from labs.engine.claims import Claim, Verdict
from labs.engine.cluster import Cluster
from labs.engine.errors import BrokenCaptureError
from labs.engine.evidence import Evidence, Fact, Seen
from labs.engine.ladder import Names
from labs.engine.ladder import name as name_of
from labs.engine.language import gettext as _
from labs.engine.latency import Latencies
from labs.engine.model import Lab, Step
from labs.engine.packet import Packet
from labs.engine.places import Output
from labs.engine.prose import Section
from labs.engine.report.arrows import Ladder, ladder, sized
from labs.engine.report.plot import Plot, plot
from labs.engine.report.rules import in_words
from labs.engine.rules import Rule

PASSED = "Passed"  # the fact with the rules that a packet passed
ROWS = 60  # how many packets of a capture are listed


class State(StrEnum):
    TRUE = "true"
    FALSE = "false"
    DOUBT = "in doubt"
    SKIPPED = "skipped"
    UNDER_WAY = "under way"
    TO_DO = "not done yet"


@dataclass(frozen=True)
class PacketRow:
    ms: str
    source: str
    target: str
    what: str


@dataclass(frozen=True)
class Picture:
    """A capture, as a drawing and a list."""

    title: str
    command: str
    file: str  # the name of its pcapng file in the report
    trouble: str  # why it cannot be read, or proves nothing
    ladder: Ladder
    rows: Sequence[PacketRow]
    packets: int


@dataclass(frozen=True)
class Comparison:
    """A capture of a step, after the same look of its control if there is one."""

    before: Picture | None
    after: Picture


@dataclass(frozen=True)
class RuleRow:
    rule: Rule
    words: str


@dataclass(frozen=True)
class StepStory:
    key: str
    section: Section
    state: State
    claims: Sequence[Claim]
    outputs: Sequence[Output]
    comparisons: Sequence[Comparison]
    rules: dict[str, list[RuleRow]]
    plots: Sequence[Plot]
    facts: dict[str, str]  # what else was recorded, as stored
    seconds: float
    when: str


@dataclass(frozen=True)
class LabStory:
    name: str
    title: str
    intro: str
    closing: str
    steps: Sequence[StepStory]
    cluster: Cluster

    @property
    def done(self) -> int:
        return sum(step.state not in (State.UNDER_WAY, State.TO_DO) for step in self.steps)

    @property
    def claims(self) -> list[Claim]:
        return [claim for step in self.steps for claim in step.claims if claim.verdict is not Verdict.SKIPPED]

    @property
    def true(self) -> int:
        return sum(claim.verdict is Verdict.TRUE for claim in self.claims)


def tell_lab(lab: Lab, evidence: Evidence) -> LabStory:
    steps = [_tell_step(lab, step, evidence) for step in lab.steps]
    return LabStory(lab.name, lab.prose.title, lab.prose.intro, lab.prose.closing, steps, evidence.cluster)


def pcapng_name(lab: Lab, step: Step, capture: str) -> str:
    return f"{lab.name}.{step.key}.{capture}.pcapng"


def _tell_step(lab: Lab, step: Step, evidence: Evidence) -> StepStory:
    kept, seen = evidence.steps().get(step.key, {}), evidence.of(step.key)
    done, facts = kept.get("done", {}), kept.get("facts", {})
    claims = msgspec.convert(done.get("claims", []), list[Claim])
    rules = {name: found for name, fact in facts.items() if name == PASSED and (found := [*_rules(fact)])}
    measured = _fact(facts.get(Latencies.__name__), Latencies)
    drawn = {*rules, Latencies.__name__} if measured else {*rules}
    others = {name: fact for name, fact in facts.items() if name not in drawn}
    return StepStory(
        key=f"{lab.name}.{step.key}",
        section=lab.section(step),
        state=_state(kept, claims),
        claims=claims,
        outputs=seen.outputs,
        comparisons=[*_comparisons(lab, step, evidence)],
        rules={
            name: [RuleRow(rule, in_words(rule, evidence.cluster)) for rule in found] for name, found in rules.items()
        },
        plots=[plot(measured)] if measured else [],
        facts={name: msgspec.yaml.encode(fact).decode() for name, fact in others.items()},
        seconds=done.get("seconds", 0.0),
        when=done.get("at", ""),
    )


def _state(kept: dict[str, Any], claims: Sequence[Claim]) -> State:
    verdicts = {claim.verdict for claim in claims}
    if not kept:
        return State.TO_DO
    if not claims:
        return State.UNDER_WAY
    if Verdict.DOUBT in verdicts:
        return State.DOUBT
    if Verdict.FALSE in verdicts:
        return State.FALSE
    return State.SKIPPED if verdicts == {Verdict.SKIPPED} else State.TRUE


def _comparisons(lab: Lab, step: Step, evidence: Evidence) -> Iterator[Comparison]:
    """Pair each capture with one of the same look before it: in this step, or in a step that it builds on."""
    own = _looks(step, evidence)
    earlier = [(other, capture, how) for other in step.builds_on for capture, how in _looks(other, evidence)]
    pairs: list[tuple[str, tuple[Step, str] | None]] = []
    used: set[str] = set()
    for at, (capture, how) in enumerate(own):
        same = [(step, name) for name, look in own[:at] if look == how and name not in used]
        same += [(other, name) for other, name, look in earlier if look == how]
        before = same[0] if same else None
        used |= {before[1]} if before and before[0] is step else set()
        pairs.append((capture, before))
    for capture, before in pairs:
        if capture not in used:
            after = _picture(lab, step, capture, evidence)
            yield Comparison(_picture(lab, *before, evidence) if before else None, after)


def _looks(step: Step, evidence: Evidence) -> list[tuple[str, tuple[str, str, str]]]:
    kept = evidence.steps().get(step.key, {}).get("captures", {})
    return [(name, (look["place"], look["interface"], look["filter"])) for name, look in kept.items()]


def _picture(lab: Lab, step: Step, name: str, evidence: Evidence) -> Picture:
    cluster, kept = evidence.cluster, evidence.steps()[step.key]["captures"][name]
    section = lab.section(step)
    capture, trouble = _read(evidence.of(step.key), name)
    packets: Sequence[Packet] = capture.packets if capture else ()
    return Picture(
        title=_("step {number}, {interface} of {place} ({name})").format(
            number=section.number, interface=kept["interface"], place=kept["place"], name=name
        ),
        command=kept["command"],
        file=pcapng_name(lab, step, name),
        trouble=trouble,
        ladder=ladder(packets, cluster),
        rows=[*packet_rows(packets, cluster)],
        packets=len(packets),
    )


def _read(seen: Seen, name: str) -> tuple[Capture | None, str]:
    """Return a capture; while it is being written, or if somebody removed it, the reason why there is none."""
    try:
        capture = seen.capture(name)
    except (BrokenCaptureError, OSError) as error:
        return None, str(error)
    return capture, capture.broken


def packet_rows(packets: Sequence[Packet], cluster: Cluster) -> Iterator[PacketRow]:
    names = cluster.names()
    for packet in packets[:ROWS]:
        ms = f"{(packet.time - packets[0].time) * 1000:.2f}"
        inside = _carried(packet.inner, names) if packet.inner else ""
        source, target = name_of(packet.source, names), name_of(packet.target, names)
        yield PacketRow(ms, source, target, f"{sized(packet)}{inside}")


def _carried(packet: Packet, names: Names) -> str:
    ends = f"{name_of(packet.source, names)} → {name_of(packet.target, names)}"
    return ", " + _("carries {packet}").format(packet=f"{ends} {packet.note}".strip())


def _rules(fact: Any) -> Iterator[Rule]:
    """Yield the rules in a fact, wherever a lab stores them in it."""
    if isinstance(fact, list):
        for each in fact:
            yield from _rules(each)
    elif isinstance(fact, dict):
        rule = _fact(fact, Rule) if fact.keys() == {*Rule.__dataclass_fields__} else None
        if rule:
            yield rule
        else:
            for each in fact.values():
                yield from _rules(each)


def _fact(kept: Any, kind: type[Fact]) -> Fact | None:
    """Return a fact by its type; None if it is none, or of another version, and is shown as it is stored."""
    try:
        return msgspec.convert(kept, kind)
    except msgspec.ValidationError:
        return None


def files(lab: Lab, evidence: Evidence) -> Iterator[tuple[str, Path, str, str]]:
    """Yield for each capture the name of its pcapng file, the recorded file, its place, and the filter."""
    for step in lab.steps:
        for name, (place, interface, expression) in _looks(step, evidence):
            file = evidence.of(step.key).pcap(name)
            if file.exists():
                yield pcapng_name(lab, step, name), file, f"{place} {interface}", expression
