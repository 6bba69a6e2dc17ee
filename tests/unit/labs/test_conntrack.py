"""Entries of connection tracking, as `conntrack -L` prints them."""

from labs.engine.conntrack import Tracked, parse
from labs.engine.packet import Endpoint

CLIENT, POD = Endpoint("10.244.1.2", 39210), Endpoint("10.244.2.3", 8080)
LISTED = """\
tcp      6 119 TIME_WAIT src=10.244.1.2 dst=172.18.0.3 sport=39210 dport=32000 src=10.244.2.3 dst=10.244.1.0 \
sport=8080 dport=4142 [ASSURED] mark=0 use=1
tcp      6 57 SYN_SENT src=10.244.1.2 dst=10.244.2.3 sport=39210 dport=8080 [UNREPLIED] src=10.244.2.3 dst=10.244.1.2 \
sport=8080 dport=39210 mark=0 use=1
icmp     1 29 src=10.244.1.2 dst=172.18.0.4 type=8 code=0 id=9 src=172.18.0.4 dst=10.244.1.2 type=0 code=0 id=9 use=1
"""


def test_an_entry_has_both_directions() -> None:
    translated, plain = parse(LISTED)
    assert translated == Tracked(CLIENT, Endpoint("172.18.0.3", 32000), POD, Endpoint("10.244.1.0", 4142))
    assert plain == Tracked(CLIENT, POD, POD, CLIENT)
    assert (translated.plain, plain.plain) == (False, True)
    assert str(translated) == "10.244.1.2:39210 → 172.18.0.3:32000, and back 10.244.2.3:8080 → 10.244.1.0:4142"


def test_a_node_that_tracks_nothing_has_none() -> None:
    assert [*parse("")] == []
