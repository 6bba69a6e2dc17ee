"""Alarms: each of them alone, at its threshold, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from socklb.health.alarms import NAMES, alarms
from socklb.health.proxy_health import not_serving, stuck
from socklb.report import (
    AgentFacts,
    ConnectFacts,
    DeviceFacts,
    HookFacts,
    PacketFacts,
    RecordFacts,
    Report,
    RunningFacts,
    ServiceFacts,
    TableFacts,
)

RUNS, NONE_RUNS = AgentFacts(running=True), AgentFacts()
UPLINKS = [DeviceFacts("eth0", 2), DeviceFacts("eth1", 3, trouble="uplink_in is not attached")]


def raised(**facts: Any) -> dict[str, str]:
    return {alarm.name: alarm.message for alarm in alarms(Report(**{"synced": True, "agent": RUNS, **facts}))}


def test_a_quiet_node_raises_none() -> None:
    assert raised(maps=[TableFacts("frontends", 899, 1000), TableFacts("backends", 0, 10)]) == {}


def test_a_table_that_may_grow_is_nearly_full_when_it_can_grow_no_more() -> None:
    assert raised(maps=[TableFacts("frontends", 1000, 1000, 8000)]) == {}
    full = raised(maps=[TableFacts("frontends", 7200, 8000, 8000)])
    assert "the table frontends holds 7200 of 8000 entries" in full["table_nearly_full"]


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("frontends", "max_frontends"),
        ("flows", "max_flows"),
        ("left_out", "bypass_cgroups"),
        ("networks", "native_cidrs"),
    ],
)
def test_a_table_that_is_nearly_full_names_the_key_that_helps(table: str, key: str) -> None:
    _, _, next_ = raised(maps=[TableFacts(table, 9, 10)])["table_nearly_full"].partition("next: ")
    assert key in next_


def test_a_table_is_nearly_full_at_nine_tenths() -> None:
    full = [TableFacts("frontends", 900, 1000)]
    assert "frontends holds 900 of 1000" in raised(maps=full)["table_nearly_full"]


def test_each_full_table_is_named() -> None:
    full = [TableFacts("frontends", 10, 10), TableFacts("node_addrs", 10, 10)]
    assert [alarm.about for alarm in alarms(Report(maps=full, agent=RUNS))] == ["frontends", "node_addrs"]


def test_slots_that_are_nearly_full_have_an_alarm_of_their_own() -> None:
    assert "sockets holds 9 of 10" in raised(maps=[TableFacts("sockets", 9, 10)])["slots_nearly_full"]


@pytest.mark.parametrize(
    ("given", "name", "says"),
    [
        ({"services": ServiceFacts(waiting=1)}, "no_room_for_frontends", "for 1 frontend:"),
        ({"services": ServiceFacts(addresses_waiting=2)}, "no_room_for_addresses", "for 2 addresses:"),
        ({"services": ServiceFacts(ranges_waiting=1)}, "no_room_for_source_ranges", "for 1 source range: clients in"),
        ({"records": RecordFacts(lost=3)}, "records_lost", "3 records of sockets"),
        ({"leftovers": ["ip kube-proxy", "KUBE-X"]}, "kube_proxy_left_over", "ip kube-proxy, KUBE-X"),
        ({"hook_trouble": {"hooks_damaged": "not attached: recvmsg4; next: …"}}, "hooks_damaged", "recvmsg4"),
        (
            {"hooks": [HookFacts("connect4", attached=True)]},
            "hook_not_effective",
            "connect4 is attached and not effective",
        ),
        (
            {"packet_path": PacketFacts(True, there=True, whole=False)},
            "packet_path_not_whole",
            "a program at an uplink is damaged",
        ),
        (
            {"packet_path": PacketFacts(True, there=False, whole=False)},
            "packet_path_not_whole",
            "a program at an uplink is not there",
        ),
        ({"running": [RunningFacts("Node", alive=False)]}, "not_running", "Node should run in the agent"),
    ],
)
def test_each_trouble_raises_its_alarm_with_a_hint(given: dict[str, Any], name: str, says: str) -> None:
    found = raised(**given)
    assert found.keys() == {name}
    assert says in found[name]
    assert "; next: " in found[name]
    assert name in NAMES


def test_where_no_agent_runs_that_is_one_and_what_is_damaged_another() -> None:
    whole = [HookFacts("connect4", attached=True, effective=True)]
    assert raised(agent=NONE_RUNS, hooks=whole).keys() == {"not_running"}
    found = raised(
        agent=NONE_RUNS,
        cgroup="/sys/fs/cgroup",
        hooks=[*whole, HookFacts("connect6"), HookFacts("sendmsg6")],
        packet_path=PacketFacts(True, True, False, devices=UPLINKS),
    )
    assert found.keys() == {"not_running", "hooks_damaged", "packet_path_not_whole"}
    assert "2 of 3 hooks are not attached to /sys/fs/cgroup: connect6, sendmsg6" in found["hooks_damaged"]
    assert "is damaged (eth1: uplink_in is not attached)" in found["packet_path_not_whole"]
    assert all("; next: start the agent" in text for text in found.values())


def test_packets_that_cannot_be_asked_for_are_no_silence() -> None:
    assert (
        "no netlink"
        in raised(agent=NONE_RUNS, packet_path=PacketFacts(True, error="no netlink"))["packet_path_failing"]
    )


def test_what_fails_is_an_alarm_though_the_programs_are_whole() -> None:
    assert raised(packet_path=PacketFacts(True, True, True, "the kernel refused")).keys() == {"packet_path_failing"}


def test_a_packet_path_that_is_somebody_elses_raises_none() -> None:
    assert raised(packet_path=PacketFacts(False)) == {}


def test_a_connect_that_is_not_translated_is_told_and_fails_healthz_alone() -> None:
    failing = ConnectFacts(translated=False, error="connect() to 127.0.0.1 port 40001 was not translated")
    assert failing.error in raised(connect=failing)["connect_not_translated"]
    assert any(failing.error in reason for reason in not_serving(Report(synced=True, connect=failing)))
    assert stuck(Report(synced=True, connect=failing)) == []


def test_a_connect_that_cannot_be_tried_raises_nothing() -> None:
    unknown = ConnectFacts(error="the tables are full")
    assert raised(connect=unknown) == {}
    assert not_serving(Report(synced=True, connect=unknown)) == []
