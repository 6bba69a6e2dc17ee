"""A report as text for people: `socklb status` prints it.

    text(report)                    # one screen
    text(report, verbose=True)      # also hooks, threads and tables one by one

The agent makes it from its own report, so that a command that only prints it need not know the report's format.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from socklb.lines import aligned
from socklb.report import (
    ConnectFacts,
    DeviceFacts,
    HookFacts,
    LeftOutFacts,
    PacketFacts,
    ProblemFacts,
    Report,
    SourceFacts,
    TableFacts,
)
from socklb.status.served import goes_on, packets_by, served_by

OWN = "the node's own processes"  # the clients of programs at lo


def text(found: Report, *, verbose: bool = False) -> str:
    """Return the text."""
    return "\n".join([*_summary(found), *(_details(found) if verbose else ())])


def _summary(found: Report) -> Iterator[str]:
    effective = sum(hook.effective for hook in found.hooks)
    served = found.services
    yield from aligned(
        [
            ("Node:", found.node),
            ("Agent:", _agent(found)),
            ("Source:", f"{found.source.where}: {_source(found)}"),
            ("Hooks:", f"{effective} of {len(found.hooks)} attached and effective on {found.cgroup}"),
            *([("Connect:", _connect(found.connect))] if found.agent.running else []),
            ("Packet path:", packet_path(found.packet_path)),
            *([("Running:", _running(found))] if found.agent.running else []),
            (
                "Services:",
                f"{served.services}, {served.frontends} frontends, {served.without_backends} without backends",
            ),
            ("Problems:", str(len(found.problems))),
        ]
    )
    for problem in found.problems:
        yield f"  {_problem(problem)}"


def _problem(problem: ProblemFacts) -> str:
    place = f"{problem.file} document {problem.document}" if problem.document else problem.file
    text = ": ".join(part for part in (problem.object, place, problem.field, problem.message) if part)
    times = f", {problem.count} times" if problem.count > 1 else ""
    return f"{text} (since {_moment(problem.first)}{times})" if problem.first else text


def _agent(found: Report) -> str:
    agent = found.agent
    if not agent.running:
        return f"not running; {goes_on(found)}"
    with_object = f", {agent.object}" if agent.object else ""
    return f"socklb {agent.version}, process {agent.pid}, since {_moment(agent.started or 0)}{with_object}"


def _source(found: Report) -> str:
    if not found.agent.running:
        return "not watched"
    state = "" if found.synced else "not in sync: nothing is pruned"
    return f"{'; '.join(filter(None, (state, _outage(found.source)))) or 'in sync'}, revision {found.applied.revision}"


def _outage(source: SourceFacts) -> str:
    if source.lost_since is None:
        return ""
    lost = f"{duration(time.time() - source.lost_since)}, since {_moment(source.lost_since)}"
    return f"out of reach for {lost} ({source.reason}); what was known then is served"


def _connect(connect: ConnectFacts) -> str:
    """Return the result of the agent's own connect."""
    if connect.at is None:
        return "not tried yet: the hooks are to be attached first"
    states = {None: "cannot be tried", True: "translated by the hooks, tried", False: "NOT TRANSLATED"}
    text = f"{states[connect.translated]} {_moment(connect.at)}" if connect.translated else states[connect.translated]
    since = "" if connect.translated or not connect.since else f" since {_moment(connect.since)}"
    return f"{text}{since}: {connect.error}" if connect.error else text


def packet_path(path: PacketFacts) -> str:
    """Return the state of the packet path."""
    if not path.enabled:
        return "not by socklb: packet_path is false"
    states = {None: "cannot be asked", True: "there and whole", False: "DAMAGED" if path.there else "NOT THERE"}
    text = f"{packets_by(path)}: {states[path.whole]}"
    since = f" since {_moment(path.since)}" if path.since else ""
    if path.damaged:
        since += f"; mended {path.damages} times, at {_moment(path.damaged)} because {path.damage}"
    return f"{text}; FAILS{since}: {path.error}" if path.error else text + since


def _running(found: Report) -> str:
    dead = [one for one in found.running if not one.alive]
    text = f"{len(found.running) - len(dead)} of {len(found.running)} tasks and threads"
    return "; ".join([text, *(f"NOT {one.name}: {one.error or 'it is gone'}" for one in dead)])


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float) -> str:
    """Format a duration for people: `12 min 3 s`."""
    parts = zip((int(seconds) // 3600, int(seconds) // 60 % 60, int(seconds) % 60), ("h", "min", "s"), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _details(found: Report) -> Iterator[str]:
    yield "\nServed by:"
    yield from aligned(served_by(found), "  ")
    if found.agent.running:
        yield f"\neBPF object: {found.agent.object}"
    yield "\nHooks:"
    yield from aligned([_hook(hook) for hook in found.hooks], "  ")
    if found.agent.lacks:
        yield "\nThis kernel lacks:"
        yield from (f"  {feature}" for feature in found.agent.lacks)
    if found.running:
        yield "\nRunning:"
        yield from aligned(
            [(one.name, ("runs" if one.alive else "NOT RUNNING"), one.error) for one in found.running], "  "
        )
    if found.packet_path.devices:
        yield "\nPacket path:"
        devices = found.packet_path.devices
        lo = (
            []
            if any(device.name == "lo" for device in devices)
            else [("lo", "-", OWN, "not served: no socket is left out")]
        )
        yield from aligned([*map(_device, devices), *lo], "  ")
        yield from aligned([(name, str(count)) for name, count in found.packet_path.counters.items()], "  ")
    if found.left_out:
        yield "\nLeft out by the hooks:"
        yield from aligned([_left_out(one) for one in found.left_out], "  ")
    if found.maps:
        yield "\nTables:"
        yield from aligned([(table.name, _filled(table)) for table in found.maps], "  ")


def _filled(table: TableFacts) -> str:
    grows = f", grows to {table.most}" if table.most > table.capacity else ""
    return f"{table.used} of {table.capacity}{grows}"


def _device(device: DeviceFacts) -> tuple[str, str, str, str]:
    addresses = (
        OWN
        if device.name == "lo"
        else "towards pods"
        if device.of_pods
        else ", ".join(device.addresses) or "no address"
    )
    return device.name, device.by, addresses, f"NOT SERVED: {device.trouble}" if device.trouble else "attached"


def _left_out(one: LeftOutFacts) -> tuple[str, str, str, str]:
    return f"Pod {one.pod}" if one.pod else "-", one.cgroup, one.why or "-", f"since {_moment(one.since)}"


def _hook(hook: HookFacts) -> tuple[str, str, str]:
    if not hook.attached:
        return hook.name, "NOT ATTACHED", ""
    if not hook.effective:
        return hook.name, f"program {hook.program_id}", "NOT EFFECTIVE"
    return hook.name, f"program {hook.program_id}", "effective"
