"""Packets as lines to read."""

from labs.engine.ladder import FOLD, WIDTH, ladder
from tests.unit.labs.frames import packet

NAMES = {"10.244.1.2": "client", "10.244.2.3": "web-2"}


def test_a_packet_is_a_line_with_names_for_addresses_and_a_legend() -> None:
    lines = ladder(
        [
            packet("10.244.1.2:42880", "10.244.2.3:8080"),
            packet("10.244.2.3:8080", "10.244.1.2:42880", "SYN,ACK", at=0.00004),
        ],
        NAMES,
    )
    assert lines == [
        " #       ms  from             to            what     bytes",
        " 1     0.00  client:42880  →  web-2:8080    SYN          0",
        " 2     0.04  web-2:8080    →  client:42880  SYN,ACK      0",
        "    client = 10.244.1.2 · web-2 = 10.244.2.3",
    ]


def test_an_address_without_a_name_is_shown_as_it_is() -> None:
    assert "10.96.0.10:80" in ladder([packet("10.244.1.2:1", "10.96.0.10:80")], NAMES)[1]


def test_what_is_no_tcp_says_its_protocol() -> None:
    line = ladder([packet("10.244.1.2:1", "10.244.2.3:2", "port unreachable", "icmp")], NAMES)[1]
    assert "ICMP port unreachable" in line


def test_long_captures_are_folded_and_say_so() -> None:
    lines = ladder([packet("10.244.1.2:1", "10.244.2.3:2")] * (FOLD + 7), NAMES)
    assert lines[FOLD + 1].strip() == "… 7 more"
    assert len(lines) == 1 + FOLD + 1 + 1


def test_a_ladder_of_nothing_says_so() -> None:
    assert ladder([], NAMES) == ["no packets"]


def test_lines_fit_eighty_columns_with_the_longest_pod_names_of_the_cluster() -> None:
    names = {"fd00:10:244:1::2": "client-2", "fd00:10:96::a": "svc/empty"}
    lines = ladder([packet("fd00:10:244:1::2:65535", "fd00:10:96::a:32000", "neighbor answer", "icmp")] * 14, names)
    assert max(len(line) for line in lines) <= WIDTH
