"""Which part serves which Service types, and for which clients, as read back: a part that is not attached serves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from socklb.report import HookFacts, PacketFacts, Report

CONNECT = ("connect4", "connect6", "getpeername4", "getpeername6")
SENDMSG = ("sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6")
OUTSIDE = "NodePort, externalIPs, LoadBalancer"


def served_by(report: Report) -> list[tuple[str, str, str]]:
    """Return a line per path: which types and clients, which protocols, by which part; tests/cluster prove each."""
    sockets, packets = by_sockets(report), by_packets(report)
    if not report.pod_sockets:
        sockets += "; sockets of pods: as on the packet"
    return [
        ("ClusterIP", "TCP, UDP", sockets),
        (f"{OUTSIDE}, from sockets of this node", "TCP, UDP", sockets),
        (f"{OUTSIDE}, from outside", "TCP, UDP, SCTP", packets),
        ("all of them, SCTP or forwarded", "TCP, UDP, SCTP", packets),
    ]


def goes_on(report: Report) -> str:
    """Return what is still served while no agent runs."""
    effective = {hook.name for hook in report.hooks if hook.effective} & {*CONNECT, *SENDMSG}
    path = report.packet_path
    ways = [("sockets", len(effective) == len((*CONNECT, *SENDMSG)), bool(effective))]
    if path.enabled and path.whole is not None:
        ways.append(("packets", path.whole, any(not device.trouble for device in path.devices)))
    whole = [way for way, all_, _ in ways if all_]
    parts = [f"NOT {'all ' if some else ''}{way}" for way, all_, some in ways if not all_]
    unknown = ["packets cannot be asked for"] if path.enabled and path.whole is None else []
    if not any(some for _, _, some in ways) and not unknown:
        return "nothing that is pinned serves"
    return f"what is pinned goes on serving {', '.join((*whole, *parts, *unknown))}"


def serves_sockets(hooks: Iterable[HookFacts], *, ipv4: bool, datagrams: bool) -> bool:
    """Return whether the effective hooks serve sockets of one family that connect, or that send datagrams."""
    effective = {hook.name for hook in hooks if hook.effective}
    needed = (*CONNECT, *SENDMSG) if datagrams else CONNECT
    return effective.issuperset(name for name in needed if name.endswith("4") == ipv4)


def by_sockets(report: Report) -> str:
    """Return which of the socket hooks serve: those that are attached and effective."""
    effective = {hook.name for hook in report.hooks if hook.effective}
    ways = [name for name, hooks in (("connect", CONNECT), ("sendmsg", SENDMSG)) if effective.issuperset(hooks)]
    missing = [hook.name for hook in report.hooks if not hook.effective and hook.name in (*CONNECT, *SENDMSG)]
    if not effective:
        return "NOT SERVED: no hook is attached and effective"
    text = f"socket: {', '.join(ways)}" if ways else "socket, in part"
    return f"{text}; NOT by {', '.join(missing)}" if missing else text


def packets_by(path: PacketFacts) -> str:
    """Return which part serves packets."""
    past = ", past netfilter (host routing)" if path.host_routing else ""
    return f"eBPF at {', '.join(device.name for device in path.devices if not device.of_pods) or 'no device'}{past}"


def by_packets(report: Report) -> str:
    """Return whether packets are served."""
    path = report.packet_path
    if not path.enabled:
        return "not by socklb: packet_path is false"
    if path.whole:
        return f"packet: {packets_by(path)}"
    if path.whole is None:
        return f"not known: {path.error}"
    return f"NOT SERVED: a program at an uplink is {'damaged' if path.there else 'not there'}"
