"""Alarms: each of them alone, at its threshold, with what to do."""

from typing import Any

import pytest

from socklb.datapath.view import Fill
from socklb.health.alarms import NAMES, alarms

QUIET: dict[str, Any] = {"frontends_waiting": 0, "addresses_waiting": 0, "lost": 0, "leftovers": []}


def raised(*fills: Fill, **more: Any) -> dict[str, str]:
    return {alarm.name: alarm.message for alarm in alarms(fills, **{**QUIET, **more})}


def test_a_quiet_node_raises_none() -> None:
    assert raised(Fill("frontends", 899, 1000), Fill("backends", 0, 10)) == {}


def test_a_table_is_nearly_full_at_nine_tenths() -> None:
    assert "frontends holds 900 of 1000" in raised(Fill("frontends", 900, 1000))["table_nearly_full"]


def test_each_full_table_is_named() -> None:
    full = [Fill("frontends", 10, 10), Fill("node_addrs", 10, 10)]
    assert [alarm.message.split()[2] for alarm in alarms(full, **QUIET)] == ["frontends", "node_addrs"]


def test_the_table_of_sockets_may_be_full() -> None:
    assert raised(Fill("sockets", 10, 10)) == {}


@pytest.mark.parametrize(
    ("given", "name", "says"),
    [
        ({"frontends_waiting": 1}, "no_room_for_frontends", "for 1 frontend:"),
        ({"addresses_waiting": 2}, "no_room_for_addresses", "for 2 addresses:"),
        ({"lost": 3}, "records_lost", "3 records of sockets"),
        ({"leftovers": ["ip kube-proxy", "KUBE-SERVICES"]}, "kube_proxy_left_over", "ip kube-proxy, KUBE-SERVICES"),
    ],
)
def test_each_trouble_raises_its_alarm_with_a_hint(given: dict[str, Any], name: str, says: str) -> None:
    found = raised(**given)
    assert found.keys() == {name}
    assert says in found[name]
    assert "; next: " in found[name]
    assert name in NAMES


def test_an_alarm_is_a_problem_in_status() -> None:
    (alarm,) = alarms([], **{**QUIET, "lost": 1})
    assert alarm.problem.message == alarm.message
