"""Which devices are uplinks, by which the node reaches anything outside itself; and which devices lead to pods. Pure.

    for uplink in uplinks(rtnetlink.read(), own, patterns, pods): ...

Without patterns, an uplink is a device that has an address of the node, or by which a route leads to a gateway. So
bonds and VLANs are uplinks (their ports have no address), and tunnels such as flannel.1 if pods of other nodes are
behind them. Veths and bridges of pods are not, even if a pod is the gateway to something, and neither is a bridge's
port. A tunnel whose packets begin with the IP header (WireGuard, ipip) is an uplink if any route uses it, because it
has no gateways. Devices with other headers (GRE, PPP) are not served, and are named; so are ipip and sit before
Linux 5.14.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from socklb.api.addresses import Network
from socklb.model import is_ipv4
from socklb.tc import layout
from socklb.tc.rtnetlink import ETHERNET, IP_ALONE, LOOPBACK, WRAPPED, Device, Found

SERVED = IP_ALONE | {ETHERNET}


class Uplink(NamedTuple):
    """A device, and the addresses (16 bytes) that clients are masqueraded to, so that their replies come back to this
    node; empty: it has none of this family.
    """

    ifindex: int
    name: str
    ipv4: bytes
    ipv6: bytes


def uplinks(
    found: Found, own: Collection[bytes], patterns: Sequence[str], pods: Sequence[Network] = ()
) -> list[Uplink]:
    """Return the uplinks. `own`: the node's addresses, as the cluster knows them."""
    return [
        Uplink(device.ifindex, device.name, *(_source(device, found, own, ipv4=ipv4) for ipv4 in (True, False)))
        for device in _chosen(found, own, patterns, pods)
        if device.type in SERVED
    ]


def refused(found: Found, own: Collection[bytes], patterns: Sequence[str]) -> list[str]:
    """Return the uplinks that cannot be served."""
    return [device.name for device in _chosen(found, own, patterns) if device.type not in SERVED | {WRAPPED}]


def wrapped(found: Found, own: Collection[bytes], patterns: Sequence[str]) -> list[str]:
    """Return the uplinks that this kernel is too old for: tunnels whose packets still begin with the outer header."""
    return [device.name for device in _chosen(found, own, patterns) if device.type == WRAPPED]


def unmatched(found: Found, patterns: Sequence[str]) -> list[str]:
    """Return the patterns that match no device."""
    return [text for text in patterns if not any(fnmatchcase(device.name, text) for device in found.devices)]


def towards_pods(found: Found, pods: Sequence[Network], uplinks: Collection[int]) -> dict[int, int]:
    """Return the devices through which packets are routed to pods of this node, and how packets are handed on there.

    A route to a network of pods uses the device, without a gateway: it is one pod's veth, or a bridge of them.
    """
    behind = _before_pods(found, pods)
    return {
        device.ifindex: layout.INTO_POD if device.kind == "veth" else layout.TO_NEIGHBOUR
        for device in found.devices
        if device.ifindex in behind - set(uplinks)
        and (device.kind == "bridge" or (device.kind == "veth" and device.leads_away and not device.master))
    }


def without_ethernet(found: Found) -> set[int]:
    """Return the devices whose packets begin with the IP header."""
    return {device.ifindex for device in found.devices if device.type in IP_ALONE}


def lead_everywhere(found: Found, own: Collection[bytes], uplinks: Collection[int]) -> bool:
    """Return whether packets to any address leave by an uplink, in each family that the node has an address of.

    A packet to a Service without a route is seen only by the client's own device.
    """
    by_default = {hop.ipv4 for hop in found.hops if hop.default and hop.device in uplinks}
    return by_default >= {is_ipv4(address) for address in own}


def of_pods(found: Found, uplinks: Collection[int]) -> set[int]:
    """Return the devices that lead to pods: virtual devices with a route without a gateway that are not uplinks.

    A bridge is replaced by its ports, because frames between them never leave it.
    """
    near = {hop.device for hop in found.hops if not hop.gateway} - {*uplinks}
    made = {one.ifindex for one in found.devices if one.ifindex in near and one.kind and one.type == ETHERNET}
    bridges = {one.ifindex for one in found.devices if one.kind == "bridge"} & made
    ports = {one.ifindex for one in found.devices if one.master in bridges}
    return (made - bridges | ports) - {*uplinks}


def _before_pods(found: Found, pods: Sequence[Network]) -> set[int]:
    """Return the devices that have a route to a network of pods without a gateway."""
    hops = (hop for hop in found.hops if hop.to and not hop.gateway)
    return {hop.device for hop in hops if any(net.has(hop.to) and net.bits <= hop.bits for net in pods)}


def _chosen(
    found: Found, own: Collection[bytes], patterns: Sequence[str], pods: Sequence[Network] = ()
) -> Iterator[Device]:
    of_bridges = {one.ifindex for one in found.devices if one.kind in {"bridge", "veth"}}
    away = {hop.device for hop in found.hops if hop.gateway} - (_before_pods(found, pods) & of_bridges)
    away |= {hop.device for hop in found.hops if hop.default}
    away |= {device for device, address in found.addresses if address in own}
    tunnels = {device.ifindex for device in found.devices if device.type in IP_ALONE | {WRAPPED}}
    away |= {hop.device for hop in found.hops} & tunnels
    for device in found.devices:
        if device.type == LOOPBACK:
            continue
        if any(fnmatchcase(device.name, text) for text in patterns) if patterns else device.ifindex in away:
            yield device


def _source(device: Device, found: Found, own: Collection[bytes], *, ipv4: bool) -> bytes:
    """Return the address to send from: an address of the node on the device, else the device's first one, else the
    node's.
    """
    alike = [one for one in found.addresses if is_ipv4(one.address) == ipv4]
    here = [one.address for one in alike if one.device == device.ifindex]
    owned = [one.address for one in alike if one.address in own]
    return next(iter([*(address for address in here if address in own), *here, *owned]), b"")
