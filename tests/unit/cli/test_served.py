"""What `socklb status` says serves: what was read back, and nothing else."""

from __future__ import annotations

import pytest

from socklb.datapath.links import HOOKS
from socklb.report import DeviceFacts, HookFacts, PacketFacts, Report
from socklb.status.served import by_packets, by_sockets, goes_on, served_by
from socklb.status.summary import packet_path

UPLINKS = [DeviceFacts("eth0", 2), DeviceFacts("eth1", 3), DeviceFacts("veth0", 4, of_pods=True)]
WHOLE = PacketFacts(True, there=True, whole=True, devices=UPLINKS)
PROGRAMS = "packet: eBPF at eth0, eth1"
PAST = "eBPF at eth0, past netfilter (host routing)"


def hooks(*lacking: str) -> list[HookFacts]:
    return [HookFacts(name, attached=name not in lacking, effective=name not in lacking) for name in HOOKS]


def test_with_everything_there_each_type_has_what_serves_it() -> None:
    report = Report(hooks=hooks(), packet_path=WHOLE)
    assert [by for _, _, by in served_by(report)] == ["socket: connect, sendmsg"] * 2 + [PROGRAMS] * 2


def test_where_hooks_leave_pods_alone_it_says_so() -> None:
    report = Report(hooks=hooks(), pod_sockets=False)
    assert [by for _, _, by in served_by(report)][:2] == [
        "socket: connect, sendmsg; sockets of pods: as on the packet"
    ] * 2


@pytest.mark.parametrize("found", [[], hooks(*HOOKS)], ids=["no pins", "no hook attached"])
def test_without_a_hook_no_type_is_served_by_sockets(found: list[HookFacts]) -> None:
    report = Report(hooks=found)
    assert by_sockets(report) == "NOT SERVED: no hook is attached and effective"
    assert not any("socket:" in by for _, _, by in served_by(report))


def test_a_hook_that_is_attached_and_not_effective_serves_nothing() -> None:
    report = Report(hooks=[HookFacts(name, attached=True, effective=name != "recvmsg4") for name in HOOKS])
    assert by_sockets(report) == "socket: connect; NOT by recvmsg4"


@pytest.mark.parametrize(
    ("facts", "served", "line"),
    [
        (PacketFacts(), "not by socklb: packet_path is false", "not by socklb: packet_path is false"),
        (WHOLE, PROGRAMS, "eBPF at eth0, eth1: there and whole"),
        (PacketFacts(True, there=True, whole=False), "NOT SERVED: a program at an uplink is damaged", "DAMAGED"),
        (PacketFacts(True, there=False, whole=False), "NOT SERVED: a program at an uplink is not there", "NOT THERE"),
        (
            PacketFacts(True, there=True, whole=True, host_routing=True, devices=[DeviceFacts("eth0", 2)]),
            f"packet: {PAST}",
            f"{PAST}: there and whole",
        ),
        (PacketFacts(True, error="no pins"), "not known: no pins", "cannot be asked; FAILS"),
    ],
    ids=["off", "whole", "damaged", "gone", "host routing", "nobody can ask"],
)
def test_the_packet_path_is_told_as_it_was_found(facts: PacketFacts, served: str, line: str) -> None:
    assert by_packets(Report(packet_path=facts)) == served
    assert line in packet_path(facts)


NOTHING = "nothing that is pinned serves"
ONE_LOST = [DeviceFacts("eth0", 2, trouble="uplink_in is not attached"), DeviceFacts("eth1", 3)]


@pytest.mark.parametrize(
    ("lacking", "path", "says"),
    [
        ((), PacketFacts(), "what is pinned goes on serving sockets"),
        ((), WHOLE, "what is pinned goes on serving sockets, packets"),
        (("bind4",), WHOLE, "what is pinned goes on serving sockets, packets"),
        (("connect4",), WHOLE, "what is pinned goes on serving packets, NOT all sockets"),
        (HOOKS, WHOLE, "what is pinned goes on serving packets, NOT sockets"),
        (
            (),
            PacketFacts(True, True, False, devices=ONE_LOST),
            "what is pinned goes on serving sockets, NOT all packets",
        ),
        (
            (),
            PacketFacts(True, True, False, devices=ONE_LOST[:1]),
            "what is pinned goes on serving sockets, NOT packets",
        ),
        (HOOKS, PacketFacts(True, False, False), NOTHING),
        (HOOKS, PacketFacts(), NOTHING),
        ((), PacketFacts(True, error="refused"), "what is pinned goes on serving sockets, packets cannot be asked for"),
    ],
)
def test_without_an_agent_what_goes_on_is_what_is_there(lacking: tuple[str, ...], path: PacketFacts, says: str) -> None:
    assert goes_on(Report(hooks=hooks(*lacking), packet_path=path)) == says
