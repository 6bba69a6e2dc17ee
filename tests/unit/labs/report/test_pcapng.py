"""The captures beside the page, as another program reads them."""

from pathlib import Path

from labs.engine.pcap import open_capture
from labs.engine.report.pcapng import annotated
from tests.support.tshark import tshark
from tests.unit.labs.clusters import local
from tests.unit.labs.frames import SYN, pcap, tcp
from tests.unit.labs.report.evidence import CLIENT, SERVICE, exchange


def test_tshark_reads_the_same_packets_each_with_its_comment(tmp_path: Path) -> None:
    file = tmp_path / "pod.pcapng"
    file.write_bytes(annotated(open_capture(exchange(SERVICE, 80)), local(), "client eth0", "tcp"))
    found = tshark(file, "frame.time_epoch", "ip.src", "ip.dst", "frame.comment", "frame.interface_name")
    client, service = "pod client at node w1 (10.244.1.2:40000)", "Service web (10.96.0.10:80)"
    assert found == [
        ["0.000250000", CLIENT, SERVICE, f"{client} → {service}: SYN", "client eth0"],
        ["1.000250000", SERVICE, CLIENT, f"{service} → {client}: SYN,ACK", "client eth0"],
        ["2.000250000", CLIENT, SERVICE, f"{client} → {service}: ACK, 5 bytes", "client eth0"],
    ]


def test_a_tunnel_s_link_type_is_kept_and_a_frame_without_ip_has_no_comment(tmp_path: Path) -> None:
    bare, arp = tcp(CLIENT, 40000, SERVICE, 80, SYN)[14:], bytes(12) + b"\x08\x06" + bytes(29)
    for name, data, expected in (("raw", pcap(bare, link=101), [CLIENT]), ("arp", pcap(arp), [""])):
        file = tmp_path / f"{name}.pcapng"
        file.write_bytes(annotated(open_capture(data), local(), "w1 flannel0", ""))
        assert [row[0] for row in tshark(file, "ip.src", "frame.comment")] == expected
        assert [bool(row[1]) for row in tshark(file, "ip.src", "frame.comment")] == [name == "raw"]
