"""What stands behind an address."""

import pytest

from labs.engine.packet import decode
from labs.engine.pcap import open_capture
from labs.engine.report.who import Kind, tell, who
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import endpoint, packet
from tests.unit.labs.report.evidence import carried


@pytest.mark.parametrize(
    ("address", "name", "kind", "told"),
    [
        ("10.96.0.10:80", "svc/web", Kind.SERVICE, "Service web (10.96.0.10:80)"),
        ("172.18.0.4:32000", "w2", Kind.SERVICE, "NodePort of Service web at node w2 (172.18.0.4:32000)"),
        ("172.18.0.4:22", "w2", Kind.NODE, "node w2 (172.18.0.4:22)"),
        ("10.244.2.3:8080", "web-2", Kind.POD, "pod web-2 of Service web at node w2 (10.244.2.3:8080)"),
        ("10.244.1.2:40000", "client", Kind.POD, "pod client at node w1 (10.244.1.2:40000)"),
        ("172.18.0.9:40000", "outside", Kind.OTHER, "outside (172.18.0.9:40000)"),
        ("192.0.2.1:1", "192.0.2.1", Kind.OTHER, "192.0.2.1:1"),
    ],
)
def test_an_end_is_told_by_what_a_reader_knows(address: str, name: str, kind: Kind, told: str) -> None:
    found = who(endpoint(address), local())
    assert (found.name, found.kind, found.told) == (name, kind, told)


def test_a_packet_is_told_in_a_line() -> None:
    told = tell(packet("10.244.1.2:40000", "10.96.0.10:80", "PSH,ACK", payload=b"12345"), local())
    assert told == "pod client at node w1 (10.244.1.2:40000) → Service web (10.96.0.10:80): PSH,ACK, 5 bytes"


def test_what_a_packet_carries_is_told_with_it() -> None:
    ((time, frame),) = open_capture(carried()).frames()
    outer = decode(time, frame)
    assert outer
    told = tell(outer, local())
    assert told.startswith("node w1 (172.18.0.3:8285) → node w2 (172.18.0.4:8285): UDP, ")
    assert told.endswith("it carries: pod client at node w1 (10.244.1.2:40000) → "
                         "pod web-2 of Service web at node w2 (10.244.2.3:8080): SYN")  # fmt: skip
