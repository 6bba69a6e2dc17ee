"""What happens to a connection, step by step, and one sentence with the result and its reason.

    explanation = explain(config, frontend, "shop/web-0")
    explanation.sentence        # "ECONNREFUSED: Service default/empty has no ready endpoint on this node: …"

The steps are read from the kernel's tables. The agent tells which Service holds the frontend, why it has no backend,
and where the tables differ from the desired state.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from socklb.config import Config
from socklb.datapath import hooks
from socklb.datapath.hooks import Hook
from socklb.datapath.pins import Pins
from socklb.desired import at_frontend
from socklb.desired.at_frontend import Desired
from socklb.desired.names import names_of_frontends
from socklb.errors import SocklbError
from socklb.explain import asker
from socklb.explain.asker import Asker
from socklb.explain.by_hooks import at_any_address, by_hooks, destination, is_loopback
from socklb.explain.by_packets import by_packets
from socklb.explain.differences import differences
from socklb.explain.handed_on import handed_on
from socklb.explain.sentence import sentence
from socklb.explain.tables import KernelTables
from socklb.explain.trail import PASSED, Step, Trail, Verdict
from socklb.model import Frontend, frontend_text
from socklb.report import DeviceFacts, PacketFacts
from socklb.status.collected import find_cgroup
from socklb.tc.rtnetlink import way_to
from socklb.tc.seen import seen


@dataclass
class Explanation:
    """See the module. service: the Service, if known; differences: None: no agent could be asked; host_routing: its
    effect on the packet, empty: it is off.
    """

    asker: Asker
    steps: list[Step]
    verdict: Verdict
    service: str
    sentence: str
    differences: list[str] | None
    host_routing: str


def explain(config: Config, asked: Frontend, who: str) -> Explanation:
    """Explain what would happen to a connection to an address and port.

    Raises:
        SocklbError: this node has no tables, or the named client does not exist.
    """
    pins, cgroup = Pins(Path(config.bpffs)), find_cgroup(config)
    if not pins.exist():
        raise SocklbError("no tables on this node", value=config.bpffs, hint="socklb agent")
    asking, trail = asker.find(who, cgroup), Trail()
    with closing(KernelTables(pins)) as tables:
        verdict, routed = decide(tables, pins, cgroup, asked, asking, trail)
        holder, wanted = _desired(config, tables, destination(asked))
        found = None if wanted is None else list(differences(tables, holder, wanted))
    service = wanted.service if wanted else names_of_frontends(config).get(frontend_text(holder), "")
    said = sentence(asked, verdict, service, wanted)
    return Explanation(asking, trail.steps, verdict, service, said, found, routed)


def decide(
    tables: KernelTables, pins: Pins, cgroup: Path, asked: Frontend, asking: Asker, trail: Trail
) -> tuple[Verdict, str]:
    """Go through the hooks and, if they let it pass, through the packet path; then describe what host routing does."""
    path = seen(pins) if tables.packets else PacketFacts()
    attached = () if asking.outside else hooks.inspect(cgroup, pins.links)
    verdict = _verdict(tables, path.devices, attached, asked, asking, trail)
    routed = handed_on(tables, verdict, destination(asked), asking, trail, way_to) if path.host_routing else ""
    return verdict, routed


def _verdict(
    tables: KernelTables,
    devices: list[DeviceFacts],
    attached: Sequence[Hook],
    asked: Frontend,
    asking: Asker,
    trail: Trail,
) -> Verdict:
    if not asking.outside:
        verdict = by_hooks(tables, attached, asked, asking, trail)
        if verdict.outcome != PASSED or not tables.packets:
            return verdict
    return by_packets(tables, devices, asked, asking, trail, way_to)


def _desired(config: Config, tables: KernelTables, asked: Frontend) -> tuple[Frontend, Desired | None]:
    """Ask the agent about the address and port, otherwise about the NodePort; return the frontend that applies."""
    at_nodes, own = at_any_address(asked), tables.frontend(asked)
    is_nodes = is_loopback(asked.address) or tables.has("node_addrs", asked.address)
    wanted = at_frontend.ask(Path(config.socket), asked)
    if not is_nodes or own or (wanted and wanted.service):
        return asked, wanted
    return at_nodes, at_frontend.ask(Path(config.socket), at_nodes)
