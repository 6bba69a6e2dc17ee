"""What host routing passes by is found, by whichever tool it was made, and what it does not pass by is not named."""

from __future__ import annotations

import subprocess

import pytest

from socklb.tc.passed_by import passed_by
from tests.packets.network import Network

CASES = {
    "nft add table inet wall; nft add chain inet wall fw '{ type filter hook forward priority 0; }';"
    " nft add rule inet wall fw drop": "nftables chain fw of table inet wall",
    "nft add table ip6 wall; nft add chain ip6 wall fw '{ type filter hook forward priority 0; policy drop; }'": (
        "nftables chain fw of table ip6 wall"
    ),
    "nft add table ip ports; nft add chain ip ports pre '{ type nat hook prerouting priority -100; }';"
    " nft add rule ip ports pre tcp dport 99 dnat to 10.1.1.1": "nftables chain pre of table ip ports",
    "iptables-nft -A FORWARD -s 10.9.9.9 -j DROP": "nftables chain FORWARD of table ip filter",
    "iptables-legacy -A FORWARD -s 10.9.9.9 -j DROP": "iptables chain FORWARD of table filter",
    "iptables-legacy -t mangle -A FORWARD -s 10.9.9.9 -j DROP": "iptables chain FORWARD of table mangle",
    "ip6tables-legacy -A FORWARD -s fd00:9::9 -j DROP": "ip6tables chain FORWARD of table filter",
    "iptables-legacy -t nat -A PREROUTING -p tcp --dport 99 -j DNAT --to 10.1.1.1": (
        "iptables chain PREROUTING of table nat"
    ),
    "ip xfrm policy add src 10.244.1.0/24 dst 10.244.2.0/24 dir out action block": "IPsec policies (ip xfrm policy)",
    "ip xfrm policy add src 10.244.1.0/24 dst 10.244.2.0/24 dir fwd action block": "IPsec policies (ip xfrm policy)",
}
NOT_PASSED_BY = (
    "true",
    "nft add table inet wall; nft add chain inet wall fw '{ type filter hook forward priority 0; }'",
    "nft add table inet wall; nft add chain inet wall any; nft add rule inet wall any drop",
    "nft add table inet wall; nft add chain inet wall in '{ type filter hook input priority 0; policy drop; }'",
    "nft add table inet socklb; nft add chain inet socklb fw '{ type filter hook forward priority 0; policy drop; }'",
    "nft 'table ip kube-proxy { chain fw { type filter hook forward priority 0; policy drop; }; }'",
    "nft 'table ip world { chain post { type nat hook postrouting priority 100; masquerade; }; }'",
    "iptables-legacy -A INPUT -s 10.9.9.9 -j DROP",
    "iptables-legacy -t nat -A POSTROUTING -s 10.9.9.9 -j MASQUERADE",
    "ip xfrm policy add src 10.244.1.0/24 dst 10.244.2.0/24 dir in action block",
)


def made(script: str) -> None:
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}: {done.stderr}"


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("script", CASES)
def test_what_the_stack_would_do_is_named(script: str) -> None:
    made(script)
    assert passed_by() == [CASES[script]]


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("script", NOT_PASSED_BY)
def test_what_goes_on_working_is_not_named(script: str) -> None:
    made(script)
    assert passed_by() == []


def test_all_of_it_is_named(node: Network) -> None:
    made("; ".join(CASES))
    assert passed_by() == sorted(set(CASES.values()))
