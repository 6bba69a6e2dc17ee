"""The one report of a node: what `socklb status`, /healthz, /livez, metrics and alarms say, they say from it.

    report = msgspec.json.decode(answer, type=Report)

What stands in it was read back from the kernel or from a thread, not remembered from when it was done.
The agent makes one whenever it is asked; where none runs, `socklb.status` fills in what the kernel shows. Moments are
seconds since 1970. Every field has a default: an agent and a command of two versions understand each other.
"""

from __future__ import annotations

import threading
import time

from msgspec import Struct, field


class AgentFacts(Struct):
    """The agent's process, the eBPF object that this kernel got, and whether the kernel has each feature.

    lacks: of the features that it has not, what is lost.
    """

    running: bool = False
    pid: int | None = None
    version: str = ""
    started: float | None = None
    object: str = ""
    features: dict[str, bool] = field(default_factory=dict[str, bool])
    lacks: list[str] = field(default_factory=list[str])


class SourceFacts(Struct):
    """Where objects come from; `lost_since`: since when that is out of reach, None: it is not."""

    where: str = "the agent's source"
    lost_since: float | None = None
    reason: str = ""


class Applied(Struct):
    """Batches since the start, and how many objects that made; their generations by name, None where there are many."""

    revision: int = 0
    count: int = 0
    objects: dict[str, int | None] | None = field(default_factory=dict[str, "int | None"])


class ProblemFacts(Struct):
    """A problem as `socklb.api.source.Problem` has it; `count`: how often it came up, from `first` until `last`."""

    file: str
    document: int
    field: str
    message: str
    object: str = ""
    count: int = 1
    first: float = 0.0
    last: float = 0.0


class HookFacts(Struct):
    """Whether a hook is on the node's cgroup, and whether the kernel runs it there and below: see `datapath.hooks`."""

    name: str
    attached: bool = False
    effective: bool = False
    program_id: int | None = None


class DeviceFacts(Struct):
    """A device at which packets are served in eBPF: an uplink, or one `of_pods` whose sockets no hook sees. `by`: the
    kernel's way to attach programs; `addresses`: who stands for clients whose reply must come back; `trouble`: which
    program does not run there, and why."""

    name: str
    ifindex: int
    by: str = ""
    addresses: list[str] = field(default_factory=list[str])
    trouble: str = ""
    of_pods: bool = False


class PacketFacts(Struct):
    """The packet path. `there`, `whole`: as read back, None: nobody could look; `error`: the last one, while it stands;
    `since`: since when it is as it is. `damages`: how often somebody else was found to have changed the programs, which
    is mended at once; what that was the last time, and when. `host_routing`: as configured. `counters`: what became of
    packets since the tables were made. `losing`: whether a new flow found no room or no port in the last minutes."""

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
    """How full a table of the socket hooks is. most: what its capacity may grow to by itself; 0: nobody says."""

    name: str
    used: int
    capacity: int
    most: int = 0


class RunningFacts(Struct):
    """A task or thread of the agent. `alive` is false once it is gone, stuck, or has failed for a minute."""

    name: str
    alive: bool = True
    failures: int = 0
    since: float | None = None
    error: str = ""


class ConnectFacts(Struct):
    """The agent's own connect (`socklb.agent.connect_check`). `translated`: whether the hooks translated it, None: it
    could not be tried, and `error` says why; `at`: when it was tried last; `since`: since when it is as it is."""

    translated: bool | None = None
    at: float | None = None
    since: float | None = None
    error: str = ""


class ServiceFacts(Struct):
    """What the tables of the socket hooks hold, and what found no room there."""

    services: int = 0
    frontends: int = 0
    without_backends: int = 0
    waiting: int = 0
    addresses_waiting: int = 0
    ranges_waiting: int = 0


class RecordFacts(Struct):
    """What happened to sockets' records since the tables were made: see `struct bookkeeping` in bpf/types.h."""

    spilled: int = 0
    lost: int = 0


class LeftOutFacts(Struct):
    """A cgroup whose processes' sockets the hooks leave to the packet path: its path below the node's, which Pod's it
    is, why, and since when. `pod` and `why` are empty where nobody says."""

    cgroup: str
    pod: str = ""
    why: str = ""
    since: float = 0.0


class AlarmFacts(Struct):
    """What an operator must act on: one of `socklb.health.alarms.NAMES`, and the one of several that it is `about`."""

    name: str
    message: str
    about: str = ""


class Report(Struct):
    """See the module.

    lacking: hooks by which the kernel does not run our programs, which `hooks` shows by their pins; hook_trouble: what
    stands about them, by alarm. pod_sockets: whether hooks serve pods' sockets, as configured. left_out: whom they do
    not serve. leftovers: of a kube-proxy. moved: UDP sockets whose backend left, by what became of them
    (`socklb.sockets.moving`). reset: TCP connections of Services that ask for it, by what they are
    (`socklb.sockets.resetting`). refused: calls, by reason; uncounted: connects without room to be
    counted by Service, both since the tables were made. eligible: whether load balancers may ask this node. late:
    whether a change waits for a minute to be applied.
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
    """Return how a thread is that looks after itself.

    busy: since when one piece of its work goes on (monotonic), which takes `most` seconds.
    """
    stuck = busy is not None and time.monotonic() - busy > most
    error = "no sign of life" if stuck else "" if thread.is_alive() else "it is gone"
    return RunningFacts(name, not error, failures, error=error)
