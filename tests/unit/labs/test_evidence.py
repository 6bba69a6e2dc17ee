"""What is recorded comes back as it was; what is not recorded is said to be missing."""

from pathlib import Path

import pytest

from labs.engine.capture import Capture
from labs.engine.errors import BrokenCaptureError, NothingRecordedError
from labs.engine.evidence import Evidence
from labs.engine.packet import Endpoint
from tests.unit.labs.frames import SYN, capture, packet, pcap, tcp

POD, WEB = "10.244.1.2", "10.244.2.3"


def keep(evidence: Evidence, file: bytes) -> Capture:
    seen = evidence.of("wire")
    seen.pcap("pod").parent.mkdir(parents=True)
    seen.pcap("pod").write_bytes(file)
    kept = Capture("client", "eth0", "tcp", "pcaps/wire.pod.pcap", "lab exec client -- tcpdump", 0, ())
    seen.keep("pod", kept)
    return kept


def test_a_capture_comes_back_with_its_packets_and_the_names_of_the_lab(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.called({POD: "client"})
    kept = keep(evidence, pcap(tcp(POD, 5000, WEB, 8080, SYN)))
    back = Evidence(tmp_path).of("wire").capture("pod")
    assert back.packets == (packet(f"{POD}:5000", f"{WEB}:8080", at=0.00025),)
    assert back.names == {POD: "client"}
    assert (back.where, back.command, back.broken) == (kept.where, kept.command, "")


def test_a_damaged_capture_file_is_broken(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    keep(evidence, b"not a capture, though long enough for one")
    with pytest.raises(BrokenCaptureError):
        evidence.of("wire").capture("pod")


def test_endpoints_come_back_as_endpoints(tmp_path: Path) -> None:
    seen = Evidence(tmp_path).of("wire")
    seen.record("service", Endpoint("10.96.0.10", 80))
    seen.record("pods", {"web-2": Endpoint(WEB, 8080)})
    assert seen.endpoint("service") == Endpoint("10.96.0.10", 80)
    assert seen.endpoints("pods") == {"web-2": Endpoint(WEB, 8080)}


def test_what_is_not_recorded_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingRecordedError, match="step 'wire' has recorded no answer"):
        Evidence(tmp_path).of("wire")["answer"]


def test_wiping_a_step_leaves_the_others(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    keep(evidence, pcap())
    evidence.of("control").record("exit", 7)
    evidence.wipe("wire")
    assert not list(tmp_path.glob("pcaps/*"))
    assert evidence.of("wire").recorded is None
    assert evidence.of("control")["exit"] == 7


def test_a_capture_with_lost_packets_says_that_it_is_broken() -> None:
    assert "dropped 2 packets" in capture(dropped=2).broken
