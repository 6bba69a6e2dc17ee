"""What the packet path does with the first packet of a flow: bpf/begin.h and serve.h, followed step by step.

    verdict = by_packets(tables, devices, asked, asker, trail)      # PASSED: it continues like any other packet

This is for what no hook translated: a client outside, a pod that no hook serves, a process outside the node's cgroup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from socklb.datapath.layout import NATIVE_NETWORK, POD_NETWORK, SERVICE_NETWORK, filter_bit
from socklb.explain.asker import Asker
from socklb.explain.by_hooks import at_any_address, destination, found, in_addresses, is_loopback, own
from socklb.explain.tables import KernelTables, Row
from socklb.explain.trail import AT_RANDOM, DROPPED, LESS_LOADED, PASSED, REFUSED, TRANSLATED, UNKNOWN, Trail, Verdict
from socklb.model import FROM_OUTSIDE, Backend, Frontend, address_text, frontend_text
from socklb.report import DeviceFacts
from socklb.tc.lo import WHERE
from socklb.tc.rtnetlink import Way, name_of
from socklb.tc.tcx import LO

ANOTHER_NODES = "it is another node's address, which serves its NodePorts itself"
KINDS = {POD_NETWORK: "pods", NATIVE_NETWORK: "reached natively", SERVICE_NETWORK: "Services"}


def by_packets(
    tables: KernelTables,
    devices: Sequence[DeviceFacts],
    asked: Frontend,
    asker: Asker,
    trail: Trail,
    way_to: Callable[[bytes], Way],
) -> Verdict:
    """Return what happens to the packet. devices: the present uplinks; way_to: returns the route to an address."""
    trail.at = "packet path"
    if not tables.packets:
        trail.step("-", "-", "no packet path in eBPF is on this node")
        return trail.end(PASSED, "socklb serves no packets in eBPF on this node")
    path = _Packet(tables, devices, asker, trail, way_to)
    asked = destination(asked)
    if asker.outside:
        return path.comes_in(asked)
    return path.leaves_node(asked) if asker.here else path.leaves_pod(asked)


class _Packet:
    """The first packet of a flow, from one client."""

    def __init__(
        self,
        tables: KernelTables,
        devices: Sequence[DeviceFacts],
        asker: Asker,
        trail: Trail,
        way_to: Callable[[bytes], Way],
    ) -> None:
        self._tables, self._asker, self._trail, self._way_to = tables, asker, trail, way_to
        self._devices = {device.ifindex: device for device in devices}

    def comes_in(self, asked: Frontend) -> Verdict:
        """uplink_in."""
        self._trail.at = "uplink_in"
        names = ", ".join(_text(device) for device in self._devices.values()) or "no device"
        self._trail.step("uplinks", "-", names)
        if not any(_runs(device, "uplink_in") for device in self._devices.values()):
            return self._trail.end(PASSED, "no program of socklb looks at what comes in")
        if not self._may_be_ours(asked):
            return self._nobodys(asked)
        return self._begin_service(asked, from_outside=True)

    def leaves_node(self, asked: Frontend) -> Verdict:
        """uplink_out, for a process of the node."""
        self._trail.at = "uplink_out"
        return self._not_out(asked) or self._begin_outwards(asked, self._networks(asked.address))

    def leaves_pod(self, asked: Frontend) -> Verdict:
        """pod_in at the pod's own device, otherwise uplink_out."""
        if is_loopback(asked.address):
            return self._trail.end(PASSED, "loopback of a pod never leaves it")
        served = [device for device in self._asker.devices if self._tables.serves_pods_at(device)]
        self._trail.at = "pod_in"
        names = ", ".join(map(name_of, served or self._asker.devices)) or "the pod's device"
        self._trail.step("pod_devices", names, "there" if served else "not there")
        if served:
            if self._may_be_ours(asked) or self._networks(asked.address) & SERVICE_NETWORK:
                return self._begin_service(asked)
            return self._nobodys(asked)
        return self._forwarded(asked)

    def _forwarded(self, asked: Frontend) -> Verdict:
        """uplink_out, for a packet that the node forwards: begin_outwards()."""
        self._trail.at = "uplink_out"
        if (stop := self._not_out(asked)) is not None:
            return stop
        to = self._networks(asked.address)
        if to & (POD_NETWORK | NATIVE_NETWORK) or not self._is_from_pod(asked.address):
            return self._begin_outwards(asked, to)
        if to & SERVICE_NETWORK or self._is_services(asked):
            self._trail.step("unhooked", "event", "the agent puts pod_in at the pod's device; the pod sends again")
            self._trail.at = "pod_in"
            return self._begin_service(asked)
        if in_addresses(self._tables, "node_addrs", asked.address, self._trail):
            return self._trail.end(PASSED, ANOTHER_NODES)
        return self._nobodys(asked)

    def _begin_outwards(self, asked: Frontend, to: int) -> Verdict:
        """begin_outwards(), for a destination that is not a pod."""
        if not to & (POD_NETWORK | NATIVE_NETWORK) and (self._may_be_ours(asked) or to & SERVICE_NETWORK):
            return self._begin_service(asked)
        return self._nobodys(asked)

    def _not_out(self, asked: Frontend) -> Verdict | None:
        """Return the verdict for a packet that leaves by no uplink; None if it does leave by one."""
        way = self._way_to(asked.address)
        told = "this machine" if way.stays else name_of(way.device) if way.device else "no route"
        self._trail.step("routes", address_text(asked.address), told)
        if way.stays:
            return self._not_at_lo()
        if not way.device:
            return self._trail.end(PASSED, "there is no route to it")
        device = self._devices.get(way.device)
        if device is None or not _runs(device, "uplink_out"):
            return self._trail.end(PASSED, f"it leaves by {name_of(way.device)}, where none of our programs runs")
        return None

    def _not_at_lo(self) -> Verdict | None:
        served = self._tables.serves_pods_at(LO)
        self._trail.step("pod_devices", "lo", "there" if served else "not there")
        return None if served else self._trail.end(PASSED, f"it stays on this machine, at {WHERE}")

    def _is_from_pod(self, like: bytes) -> bool:
        address = self._asker.address(like)
        if address is None:
            return True
        return bool(self._networks(address) & POD_NETWORK) and not own(self._tables, address, self._trail)

    def _is_services(self, asked: Frontend) -> bool:
        """is_services()."""
        if not self._may_be_ours(asked):
            return False
        row = found(self._tables, asked, self._trail)
        return row is not None or in_addresses(self._tables, "service_addrs", asked.address, self._trail)

    def _may_be_ours(self, asked: Frontend) -> bool:
        set_ = self._tables.may_be_ours(asked.address)
        key = f"{address_text(asked.address)} (bit {filter_bit(asked.address)})"
        self._trail.step("address_filter", key, "set" if set_ else "clear")
        return set_

    def _networks(self, address: bytes) -> int:
        flags = self._tables.networks_of(address)
        told = " and ".join(text for flag, text in KINDS.items() if flags & flag)
        self._trail.step("networks", address_text(address), f"of {told}" if told else "in none of them")
        return flags

    def _begin_service(self, asked: Frontend, *, from_outside: bool = False) -> Verdict:
        """begin_service()."""
        key, row = asked, found(self._tables, asked, self._trail)
        if row is None and own(self._tables, asked.address, self._trail):
            key = at_any_address(asked)
            row = found(self._tables, key, self._trail)
        if row is None:
            return self._without_frontend(asked)
        if row.serving.sources is not None and (stop := self._not_allowed(asked, row)) is not None:
            return stop
        if from_outside and row.serving.outside is not None:
            second = found(self._tables, key._replace(scope=FROM_OUTSIDE), self._trail)
            if second:
                return self._serve(asked, second, outside=True)
        return self._serve(asked, row)

    def _not_allowed(self, asked: Frontend, row: Row) -> Verdict | None:
        client = self._asker.address(asked.address)
        if client is None:
            self._trail.step("source_ranges", f"row {row.number}", "the client's address decides")
            why = "it has source ranges, and the client's address is not said; next: --from ADDRESS"
            return self._trail.end(UNKNOWN, why)
        may = self._tables.may_ask(row.number, client)
        key = f"row {row.number}, {address_text(client)}"
        self._trail.step("source_ranges", key, "in one of them" if may else "in none of them")
        return None if may else self._trail.end(DROPPED, f"{address_text(client)} is in none of its source ranges")

    def _without_frontend(self, asked: Frontend) -> Verdict:
        """without_frontend()."""
        shown = address_text(asked.address)
        if in_addresses(self._tables, "service_addrs", asked.address, self._trail):
            return self._trail.end(REFUSED, f"{shown} is a Service's, which has no port {_port(asked)}")
        if self._networks(asked.address) & SERVICE_NETWORK:
            return self._trail.end(REFUSED, f"{shown} is in the network of Services, and no Service has it")
        return self._nobodys(asked)

    def _serve(self, asked: Frontend, row: Row, *, outside: bool = False) -> Verdict:
        """serve()."""
        backends = row.serving.backends
        if not backends:
            return self._trail.end(DROPPED if outside else REFUSED, "nobody serves it")
        if Backend(asked.address, asked.port) in backends:
            self._trail.step("-", frontend_text(asked), "is a backend itself: chosen, it goes there as it is")
        least = LESS_LOADED if row.serving.least_loaded and not row.serving.affinity else AT_RANDOM
        kept = f", the one that this client was given in the last {row.serving.affinity} s" * bool(row.serving.affinity)
        return self._trail.end(TRANSLATED, "", backends, least + kept)

    def _nobodys(self, asked: Frontend) -> Verdict:
        if self._tables.has("node_addrs", asked.address) and not self._tables.has("own_addrs", asked.address):
            return self._trail.end(PASSED, ANOTHER_NODES)
        return self._trail.end(PASSED, f"no Service has {frontend_text(asked)}")


def _runs(device: DeviceFacts, program: str) -> bool:
    return program not in device.trouble


def _text(device: DeviceFacts) -> str:
    return f"{device.name}{': ' + device.trouble if device.trouble else ''}"


def _port(asked: Frontend) -> str:
    return frontend_text(asked).rpartition(":")[2]
