"""What is recorded comes back as it was; what is not recorded is said to be missing."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from labs.engine.capture import Capture
from labs.engine.errors import BrokenCaptureError, LabError, NothingRecordedError
from labs.engine.evidence import Evidence
from labs.engine.packet import Endpoint
from labs.engine.places import Output
from tests.unit.labs.clusters import local
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
    evidence.snapshot(local())
    kept = keep(evidence, pcap(tcp(POD, 5000, WEB, 8080, SYN)))
    back = Evidence(tmp_path).of("wire").capture("pod")
    assert back.packets == (packet(f"{POD}:5000", f"{WEB}:8080", at=0.00025),)
    assert back.names[POD] == "client"
    assert (back.where, back.command, back.broken) == (kept.where, kept.command, "")


def test_a_damaged_capture_file_is_broken(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    keep(evidence, b"not a capture, though long enough for one")
    with pytest.raises(BrokenCaptureError):
        evidence.of("wire").capture("pod")


@dataclass(frozen=True)
class Answer:
    exit: int
    by: dict[str, Endpoint]


def test_a_fact_comes_back_by_its_type(tmp_path: Path) -> None:
    answer = Answer(0, {"web-2": Endpoint(WEB, 8080)})
    Evidence(tmp_path).of("wire").record(answer)
    assert Evidence(tmp_path).of("wire")[Answer] == answer


def test_what_is_not_recorded_is_named(tmp_path: Path) -> None:
    seen = Evidence(tmp_path).of("wire")
    with pytest.raises(NothingRecordedError, match="step 'wire' has recorded no Answer"):
        seen[Answer]
    with pytest.raises(NothingRecordedError, match="nobody typed `dig` by `lab exec` or in a `lab shell`"):
        seen.said("dig")


def test_what_was_typed_is_found_by_its_first_words_and_its_place(tmp_path: Path) -> None:
    seen = Evidence(tmp_path).of("wire")
    outputs = [Output("", 0, place, "", place, ("socklb", "status")) for place in ("w1", "w2", "w1")]
    seen.typed([*outputs, Output("", 1, "", "refused", "w1", ("curl",))])
    assert seen.said("socklb").out == "w1", "the last one"
    assert seen.said("socklb", "status", place="w2").out == "w2"
    assert seen.said("curl").exit == 1


def test_the_cluster_comes_back_from_its_snapshot(tmp_path: Path) -> None:
    Evidence(tmp_path).snapshot(local())
    on = Evidence(tmp_path).of("wire").on
    assert on.cluster == local()
    assert (on.client, on.client_node, on.asked, on.third) == ("client", "w1", "w2", "cp")


def test_evidence_of_another_lab_is_read_beside_its_own(tmp_path: Path) -> None:
    Evidence(tmp_path / "01-socket-lb").of("wire").record(Answer(7, {}))
    seen = Evidence(tmp_path / "03-compared").of("side-by-side")
    assert seen.lab("01", "wire")[Answer].exit == 7
    with pytest.raises(NothingRecordedError, match=r"nothing is recorded of lab 02\. Next: lab run 02"):
        seen.lab("02", "wire")


def test_wiping_a_step_leaves_the_others(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    keep(evidence, pcap())
    evidence.of("control").record(Answer(7, {}))
    evidence.wipe("wire")
    assert not list(tmp_path.glob("pcaps/*"))
    assert evidence.of("wire").recorded is None
    assert evidence.of("control")[Answer].exit == 7


def test_a_capture_with_lost_packets_says_that_it_is_broken() -> None:
    assert "dropped 2 packets" in capture(dropped=2).broken


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"steps": []}', '{"steps": {"a": {"done": 7}}}', '{"cluster": {"nodes": [1]}}', "[" * 100_000],
)
def test_a_state_that_is_none_is_told_with_the_next_command(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(LabError, match=r"state.json cannot be read: .*\. Next: rm .*state.json"):
        Evidence(tmp_path)


def test_a_fact_of_another_version_of_the_lab_is_broken_evidence(tmp_path: Path) -> None:
    Evidence(tmp_path).add("wire", "facts", "Answer", {"exit": "seven"})
    with pytest.raises(BrokenCaptureError, match="what step 'wire' has recorded as Answer is of another version"):
        Evidence(tmp_path).of("wire")[Answer]


def test_a_capture_file_that_is_gone_is_broken(tmp_path: Path) -> None:
    keep(Evidence(tmp_path), b"")
    (tmp_path / "pcaps" / "wire.pod.pcap").unlink()
    with pytest.raises(BrokenCaptureError, match=r"the capture 'wire.pod.pcap' cannot be read: No such file"):
        Evidence(tmp_path).of("wire").capture("pod")
