"""The report of a node, from which `socklb status`, /healthz, /livez, metrics and alarms are made.

    report = msgspec.json.decode(answer, type=Report)

Its contents are read back from the kernel or from a thread, not remembered from when something was done.
The agent makes a report whenever it is asked; if no agent runs, `socklb.status` fills in what the kernel shows. Times
are seconds since 1970. Every field has a default, so an agent and a command of different versions understand each
other.
"""

from __future__ import annotations

import threading
import time

from msgspec import Struct, field


class AgentFacts(Struct):
    """The agent's process, the eBPF object that was loaded, and whether the kernel has each feature.

    lacks: what does not work because of features that the kernel lacks.
    """

    running: bool = False
    pid: int | None = None
    version: str = ""
    started: float | None = None
    object: str = ""
    features: dict[str, bool] = field(default_factory=dict[str, bool])
    lacks: list[str] = field(default_factory=list[str])


class SourceFacts(Struct):
    """Where objects come from; `lost_since`: since when the source is unreachable; None: it is reachable."""

    where: str = "the agent's source"
    lost_since: float | None = None
    reason: str = ""


class Applied(Struct):
    """The number of batches since the start, and of the objects in them; their generations by name, None if there are
    many.
    """

    revision: int = 0
    count: int = 0
    objects: dict[str, int | None] | None = field(default_factory=dict[str, "int | None"])


class ProblemFacts(Struct):
    """A problem as in `socklb.api.source.Problem`; `count`: how often it occurred, from `first` until `last`."""

    file: str
    document: int
    field: str
    message: str
    object: str = ""
    count: int = 1
    first: float = 0.0
    last: float = 0.0


class HookFacts(Struct):
    """Whether a hook is attached to the node's cgroup, and whether the kernel runs it there and below: see
    `datapath.hooks`.
    """

    name: str
    attached: bool = False
    effective: bool = False
    program_id: int | None = None


class DeviceFacts(Struct):
    """A device on which eBPF programs serve packets: an uplink, or with `of_pods` one of pods whose sockets no hook
    sees. `by`: how the kernel attaches the programs; `addresses`: the addresses that clients are masqueraded to, so
    that their replies come back; `trouble`: which program does not run there, and why.
    """

    name: str
    ifindex: int
    by: str = ""
    addresses: list[str] = field(default_factory=list[str])
    trouble: str = ""
    of_pods: bool = False


class PacketFacts(Struct):
    """The packet path. `there`, `whole`: as read back, None: it could not be read; `error`: the last one, while it
    persists; `since`: since when the state is as it is. `damages`: how often a change of the programs by somebody else
    was found (and repaired at once); `damage`, `damaged`: what it was the last time, and when. `host_routing`: as
    configured. `counters`: what happened to packets since the tables were made. `losing`: whether a new flow found no
    room or no port in the last minutes.
    """

    enabled: bool = False
    there: bool | None = None
    whole: bool | None = None
    error: str = ""
    since: float | None = None
    damages: int = 0
    damage: str = ""
    damaged: float | None = None
    host_routing: bool = False
    devices: list[DeviceFacts] = field(default_factory=list[DeviceFacts])
    counters: dict[str, int] = field(default_factory=dict[str, int])
    losing: bool = False


class TableFacts(Struct):
    """How full a table of the socket hooks is. most: the capacity it may grow to by itself; 0: unknown."""

    name: str
    used: int
    capacity: int
    most: int = 0


class RunningFacts(Struct):
    """A task or thread of the agent. `alive` is false once it has ended, is stuck, or has failed for a minute."""

    name: str
    alive: bool = True
    failures: int = 0
    since: float | None = None
    error: str = ""


class ConnectFacts(Struct):
    """The agent's own test connection (`socklb.agent.connect_check`). `translated`: whether the hooks translated it,
    None: it could not be tried, and `error` says why; `at`: when it was last tried; `since`: since when the result is
    the same.
    """

    translated: bool | None = None
    at: float | None = None
    since: float | None = None
    error: str = ""


class ServiceFacts(Struct):
    """What the tables of the socket hooks hold, and what did not fit."""

    services: int = 0
    frontends: int = 0
    without_backends: int = 0
    waiting: int = 0
    addresses_waiting: int = 0
    ranges_waiting: int = 0


class RecordFacts(Struct):
    """What happened to the records of sockets since the tables were made: see `struct bookkeeping` in bpf/types.h."""

    spilled: int = 0
    lost: int = 0


class LeftOutFacts(Struct):
    """A cgroup whose sockets the hooks leave to the packet path: its path below the node's cgroup, its Pod, why, and
    since when. `pod` and `why` are empty if unknown.
    """

    cgroup: str
    pod: str = ""
    why: str = ""
    since: float = 0.0


class AlarmFacts(Struct):
    """A condition that an operator must act on: one of `socklb.health.alarms.NAMES`, and what it is `about` if there
    can be several.
    """

    name: str
    message: str
    about: str = ""


class Report(Struct):
    """The state of one node.

    lacking: hooks whose programs the kernel does not run, although `hooks` may show them by their pins; hook_trouble:
    what is wrong with them, by alarm. pod_sockets: whether hooks serve the sockets of pods, as configured. left_out:
    the cgroups that they do not serve. leftovers: of a kube-proxy. moved: UDP sockets whose backend was removed, by
    outcome (`socklb.sockets.moving`). reset: TCP connections of Services that ask for a reset, by outcome
    (`socklb.sockets.resetting`). refused: refused calls, by reason; uncounted: connects for which the count by Service
    had no room, both since the tables were made. eligible: whether load balancers may use this node. late: whether a
    change has waited a minute to be applied.
    """

    made: float = 0.0
    agent: AgentFacts = field(default_factory=AgentFacts)
    node: str = ""
    cgroup: str = ""
    source: SourceFacts = field(default_factory=SourceFacts)
    synced: bool = False
    applied: Applied = field(default_factory=Applied)
    problems: list[ProblemFacts] = field(default_factory=list[ProblemFacts])
    alarms: list[AlarmFacts] = field(default_factory=list[AlarmFacts])
    running: list[RunningFacts] = field(default_factory=list[RunningFacts])
    hooks: list[HookFacts] = field(default_factory=list[HookFacts])
    lacking: list[str] = field(default_factory=list[str])
    hook_trouble: dict[str, str] = field(default_factory=dict[str, str])
    hook_repairs: int = 0
    pod_sockets: bool = True
    left_out: list[LeftOutFacts] = field(default_factory=list[LeftOutFacts])
    packet_path: PacketFacts = field(default_factory=PacketFacts)
    connect: ConnectFacts = field(default_factory=ConnectFacts)
    services: ServiceFacts = field(default_factory=ServiceFacts)
    maps: list[TableFacts] = field(default_factory=list[TableFacts])
    table_repairs: int = 0
    records: RecordFacts = field(default_factory=RecordFacts)
    leftovers: list[str] = field(default_factory=list[str])
    moved: dict[str, int] = field(default_factory=dict[str, int])
    reset: dict[str, int] = field(default_factory=dict[str, int])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    uncounted: int = 0
    writes: dict[str, int] = field(default_factory=dict[str, int])
    listening: dict[str, str] = field(default_factory=dict[str, str])
    eligible: bool = True
    late: bool = False


def of_thread(name: str, thread: threading.Thread, busy: float | None, most: float, failures: int) -> RunningFacts:
    """Return the state of a thread that reports its own progress.

    busy: since when one piece of its work has been running (monotonic). most: the seconds that it may take.
    """
    stuck = busy is not None and time.monotonic() - busy > most
    error = "no sign of life" if stuck else "" if thread.is_alive() else "it is gone"
    return RunningFacts(name, not error, failures, error=error)
