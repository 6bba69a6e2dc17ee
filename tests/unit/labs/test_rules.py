"""The rules that a packet passed: real ones, in a network namespace that has the loopback interface alone."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from labs.engine.rules import Rule, chain, grown, parse

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
NETNS = f"socklb-test-rules-{os.getpid()}"
RULES = """\
iptables -t nat -N SERVICES; iptables -t nat -N SERVICE-WEB; iptables -t nat -N SERVICE-DNS
iptables -t nat -A OUTPUT -m comment --comment "services" -j SERVICES
iptables -t nat -A SERVICES -d 127.9.9.9 -p tcp --dport 80 -j SERVICE-WEB
iptables -t nat -A SERVICES -d 127.9.9.9 -p udp --dport 53 -j SERVICE-DNS
iptables -t nat -A SERVICE-WEB -p tcp -j DNAT --to-destination 127.0.0.1:8080
iptables -t nat -A SERVICE-DNS -p udp -j DNAT --to-destination 127.0.0.1:5353
"""


CONNECTS = """\
import socket
server = socket.create_server(("127.0.0.1", 8080))
socket.create_connection(("127.9.9.9", 80))
"""


def inside(*command: str) -> str:
    words = ["nsenter", f"--net=/run/netns/{NETNS}", "--", *command]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    subprocess.run(["ip", "-n", NETNS, "link", "set", "lo", "up"], check=True)
    inside("sh", "-ec", RULES)
    yield
    subprocess.run(["ip", "netns", "delete", NETNS], check=True)


def read() -> list[Rule]:
    return [*parse(inside("iptables-save", "--counters", "--table", "nat"))]


def test_the_chain_that_a_connection_passed_leads_from_the_hook_to_the_dnat() -> None:
    before = read()
    inside("python3", "-c", CONNECTS)
    passed = chain(grown(before, read()), "OUTPUT")
    assert [(rule.chain, rule.target, rule.packets) for rule in passed] == [
        ("OUTPUT", "SERVICES", 1),
        ("SERVICES", "SERVICE-WEB", 1),
        ("SERVICE-WEB", "DNAT", 1),
    ]
    assert passed[-1].text == "-p tcp -j DNAT --to-destination 127.0.0.1:8080"


def test_what_does_not_begin_at_the_hook_is_left_out() -> None:
    stray = Rule("KUBE-SERVICES", "-d 10.96.0.1/32 -j KUBE-SVC-API", 1)
    assert chain([stray], "PREROUTING") == []


def test_a_rule_that_came_in_between_counted_from_zero() -> None:
    assert grown([], [Rule("OUTPUT", "-j SERVICES", 2), Rule("OUTPUT", "-j LOG", 0)]) == [
        Rule("OUTPUT", "-j SERVICES", 2)
    ]
