"""With host routing: where a packet is redirected past the node's network stack. bpf/host_routing.h, followed step by
step.

    text = handed_on(tables, verdict, asked, asker, trail, way_to)

This considers only the addresses of the first packet: a packet that is unusual (cut, with options or a mark), or whose
neighbour is not known yet, goes through the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from socklb.datapath.layout import NATIVE_NETWORK, POD_NETWORK
from socklb.explain.asker import Asker
from socklb.explain.tables import KernelTables
from socklb.explain.trail import PASSED, TRANSLATED, Trail, Verdict
from socklb.model import Frontend, address_text
from socklb.tc import rtnetlink
from socklb.tc.layout import INTO_POD, TO_NEIGHBOUR
from socklb.tc.rtnetlink import Way, name_of

ON = "host_routing is on: "
OWN = f"{ON}it is for what comes in; the node's own packets leave by its stack"
NOWHERE = f"{ON}this packet goes nowhere"
PAST = "past netfilter and queueing disciplines"
HOW = {INTO_POD: "into the pod", TO_NEIGHBOUR: "to the neighbour", None: "not there"}


def handed_on(
    tables: KernelTables,
    verdict: Verdict,
    asked: Frontend,
    asker: Asker,
    trail: Trail,
    way_to: Callable[[bytes], Way],
) -> str:
    """Return what happens to the packet after the verdict. way_to: returns the node's route to an address."""
    if verdict.outcome not in (PASSED, TRANSLATED):
        return NOWHERE
    if asker.here:
        return OWN
    trail.at = "host_routing"
    path = _Path(tables, asker, trail, way_to, translated=verdict.outcome == TRANSLATED and not _by_hook(verdict))
    addresses = [one.address for one in verdict.backends] or [asked.address]
    ways = dict.fromkeys(path.way(address) for address in dict.fromkeys(addresses))
    return ON + "; ".join(ways)


def _by_hook(verdict: Verdict) -> bool:
    return verdict.by.startswith(("connect", "sendmsg"))


class _Path:
    def __init__(
        self,
        tables: KernelTables,
        asker: Asker,
        trail: Trail,
        way_to: Callable[[bytes], Way],
        *,
        translated: bool,
    ) -> None:
        self._tables, self._trail, self._way_to, self._translated = tables, trail, way_to, translated
        self._come_by = set(_with_bridges(asker))

    def way(self, address: bytes) -> str:
        """Return how a packet to an address continues."""
        way = self._way_to(address)
        if way.stays or not way.device:
            return "the node's stack has it" if way.stays else "there is no route, which the node's stack says"
        how, name = self._tables.handed_on_at(way.device), name_of(way.device)
        self._trail.step("ways", f"{name}, to {address_text(address)}", HOW[how])
        if not self._translated and way.device in self._come_by:
            return f"between pods at {name} nothing is routed"
        if how is None or not (self._translated or how == INTO_POD or self._is_native(address)):
            return f"the node's stack sends it by {name}"
        return f"it is handed on {HOW[how]} at {name}, {PAST}"

    def _is_native(self, address: bytes) -> bool:
        """is_native()."""
        native = self._tables.networks_of(address) & (POD_NETWORK | NATIVE_NETWORK)
        return bool(native) or self._tables.has("node_addrs", address)


def _with_bridges(asker: Asker) -> Iterator[int]:
    """Yield the devices on which a client's packets arrive, and the bridges that those are ports of."""
    masters = {one.ifindex: one.master for one in rtnetlink.read().devices} if asker.devices else {}
    for device in asker.devices:
        yield from (device, masters.get(device, 0))
