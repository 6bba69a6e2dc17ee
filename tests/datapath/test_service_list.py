"""`socklb service list`: who holds a frontend, of which type, by which path, with and without an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rig.agents import AgentUnderTest, endpoint_slice, node, service
from rig.sandbox import BACKENDS4, NODE4
from socklb.datapath.pins import Pins
from tests.datapath.services import SERVICE4

Row = dict[str, Any]


def listed(agent: AgentUnderTest, *more: str) -> dict[str, Row]:
    shown = agent.run("service", "list", "--json", *more)
    assert shown.returncode == 0, shown.stderr
    return {row["frontend"]: row for row in json.loads(shown.stdout)}


def with_ports(name: str, ip: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    plain = service(name, ip)
    return {**plain, "spec": {**plain["spec"], "ports": list(ports), **spec}}


TCP = {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"}
SCTP = {"name": "sctp", "port": 80, "targetPort": 8080, "protocol": "SCTP"}


def test_a_contested_frontend_is_its_holders(agent: AgentUnderTest) -> None:
    first = with_ports("ux-lb", SERVICE4, {**TCP, "nodePort": 32000}, type="NodePort")
    second = with_ports("zz-second", SERVICE4, {**TCP, "nodePort": 32000}, type="NodePort")
    slices = endpoint_slice("ux-lb-4", BACKENDS4[0]), endpoint_slice("zz-second-4", BACKENDS4[1])
    agent.write("a.yaml", node("w1", NODE4), first, second, *slices)
    agent.start()
    rows = listed(agent)
    assert {row["service"] for row in rows.values()} == {"default/ux-lb"}
    assert rows[f"{SERVICE4}:80/TCP"]["backends"] == [f"{BACKENDS4[0]}:8080"]
    summary = agent.run("status").stdout
    conflict = f"Service/default/zz-second: spec.ports: {SERVICE4}:80/TCP belongs to Service default/ux-lb"
    assert conflict in summary
    assert agent.log.count(conflict) == 1


@pytest.fixture
def every_type(agent: AgentUnderTest) -> AgentUnderTest:
    web = with_ports(
        "web", SERVICE4, {**TCP, "nodePort": 32000}, SCTP, type="LoadBalancer", externalIPs=["203.0.113.7"]
    )
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}}
    guarded = with_ports("guarded", "10.96.0.99", TCP, type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"])
    guarded["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
    slices = endpoint_slice("web-4", *BACKENDS4), endpoint_slice("guarded-4", BACKENDS4[0])
    agent.write("web.yaml", node("w1", NODE4), web, guarded, *slices)
    with agent.config.open("a") as config:
        config.write('external_ips = ["203.0.113.0/24"]\n')
    agent.start()
    return agent


def types(rows: dict[str, Row]) -> dict[str, str]:
    return {frontend: row["type"] for frontend, row in rows.items()}


TYPES = {
    f"{SERVICE4}:80/TCP": "ClusterIP",
    f"{SERVICE4}:80/SCTP": "ClusterIP",
    "0.0.0.0:32000/TCP": "NodePort",
    "203.0.113.7:80/TCP": "ExternalIP",
    "203.0.113.7:80/SCTP": "ExternalIP",
    "203.0.113.8:80/TCP": "LoadBalancer",
    "203.0.113.8:80/SCTP": "LoadBalancer",
    "10.96.0.99:80/TCP": "ClusterIP",
    "203.0.113.9:80/TCP": "LoadBalancer",
}


def test_every_frontend_is_there_with_its_true_type_and_path(every_type: AgentUnderTest) -> None:
    rows = listed(every_type)
    assert types(rows) == TYPES
    assert rows[f"{SERVICE4}:80/TCP"]["path"] == ["socket"]
    assert rows["203.0.113.9:80/TCP"]["path"] == []  # for the packet path, which is another program's here
    assert rows["203.0.113.9:80/TCP"]["backends"] == [f"{BACKENDS4[0]}:8080"]
    line = next(text for text in every_type.run("service", "list").stdout.splitlines() if "203.0.113.9" in text)
    assert "NOT SERVED" in line


def test_what_no_hook_serves_has_no_path(every_type: AgentUnderTest) -> None:
    every_type.stop()  # it would put them back
    assert listed(every_type)[f"{SERVICE4}:80/TCP"]["path"] == ["socket"]
    (Pins(every_type.bpffs).links / "connect4").unlink()
    assert {tuple(row["path"]) for row in listed(every_type).values()} == {()}


def test_names_and_types_are_known_without_an_agent(every_type: AgentUnderTest) -> None:
    names = every_type.socket.parent / "services.json"
    every_type.until(lambda _: names.exists())
    every_type.kill()
    assert types(listed(every_type)) == TYPES
    shown = every_type.run("service", "list")
    assert "as the last agent knew" in shown.stderr
    summary = every_type.run("status").stdout
    assert next(line for line in summary.splitlines() if line.startswith("Services:")).split()[1] == "2,"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["guarded"], {"default/guarded"}),
        (["default/web"], {"default/web"}),
        (["-n", "default"], {"default/web", "default/guarded"}),
        (["web", "--namespace", "default"], {"default/web"}),
    ],
)
def test_a_name_and_a_namespace_choose(every_type: AgentUnderTest, asked: list[str], found: set[str]) -> None:
    assert {row["service"] for row in listed(every_type, *asked).values()} == found
    missing = every_type.run("service", "list", "-n", "nowhere")
    assert missing.returncode == 1
    assert "no such Service has a frontend on this node ('nowhere/*')" in missing.stderr


def test_many_backends_are_a_count_unless_all_are_asked_for(agent: AgentUnderTest) -> None:
    many = [f"10.244.7.{n}" for n in range(1, 101)]
    agent.write("web.yaml", node("w1", NODE4), with_ports("web", SERVICE4, TCP), endpoint_slice("web-4", *many))
    agent.start()
    line = agent.run("service", "list").stdout.splitlines()[1]
    assert line.endswith(" and 92 more")
    assert line.count(":8080") == 8
    assert agent.run("service", "list", "--wide").stdout.splitlines()[1].count(":8080") == 100
