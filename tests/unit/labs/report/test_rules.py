"""iptables' rules, said in words."""

import pytest

from labs.engine.report.rules import in_words
from labs.engine.rules import Rule
from tests.unit.labs.clusters import local


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('-m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "packets: go on in KUBE-SERVICES"),
        (
            '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-X',
            "TCP packets to svc/web, port 80: go on in KUBE-SVC-X",
        ),
        (
            "-m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-A",
            "packets drawn with a chance of 33 in 100: go on in KUBE-SEP-A",
        ),
        (
            "-p tcp -m tcp -j DNAT --to-destination 10.244.2.3:8080",
            "TCP packets: their target becomes web-2:8080 (10.244.2.3:8080)",
        ),
        (
            "-p tcp -j DNAT --to-destination [fd00:10:244:2::3]:8080",
            "TCP packets: their target becomes web-2:8080 ([fd00:10:244:2::3]:8080)",
        ),
        ("-s 10.244.2.3/32 -j KUBE-MARK-MASQ", "packets from web-2: go on in KUBE-MARK-MASQ"),
        (
            "! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -j X",
            "TCP packets not from 10.244.0.0/16 to svc/web: go on in X",
        ),
        ("-m mark ! --mark 0x4000/0x4000 -j RETURN", "packets not marked 0x4000/0x4000: go back to the chain before"),
        ("-j MARK --set-xmark 0x4000/0x4000", "packets: mark them 0x4000/0x4000"),
        ("-j MASQUERADE --random-fully", "packets: their source becomes this node's address"),
        (
            "-m addrtype --dst-type LOCAL -g KUBE-NODEPORTS",
            "packets to an address of type LOCAL: go on in KUBE-NODEPORTS",
        ),
        ("-m recent --name X -j DROP", "packets with --name X: drop them"),
        ("-p udp", "UDP packets: only counted"),
    ],
)
def test_a_rule_says_whose_packets_and_what_becomes_of_them(text: str, words: str) -> None:
    assert in_words(Rule("CHAIN", text, 1), local()) == words
