"""What the page tells, from evidence as it stands: whole, half way, or gone."""

from pathlib import Path

from labs.engine.evidence import Evidence
from labs.engine.latency import Latencies
from labs.engine.report.story import State, tell_lab
from tests.unit.labs.report.evidence import a_lab, cut_off, exchange, record, step


def test_a_step_s_capture_stands_after_the_same_look_of_its_control(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    ask, look, _ = tell_lab(lab, record(lab, tmp_path)).steps
    assert [pair.before for pair in ask.comparisons] == [None]
    pod, wire = look.comparisons
    assert pod.before
    assert [arrow.to_service for arrow in pod.before.ladder.arrows] == [True, True, True]
    assert [arrow.to_service for arrow in pod.after.ladder.arrows] == [False, False, False]
    assert wire.before is None, "nobody looked at w2 before"
    assert wire.after.ladder.arrows[0].carried == "client:40000 → web-2:8080 SYN"


def test_a_control_within_the_step_stands_before_its_own_capture(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    step(evidence, "ask", "hooked", exchange("10.244.2.3", 8080))
    (pair,) = tell_lab(lab, evidence).steps[0].comparisons
    assert pair.before
    assert (pair.before.file, pair.after.file) == ("99-bench.ask.pod.pcapng", "99-bench.ask.hooked.pcapng")


def test_rules_and_latencies_are_found_and_the_rest_is_kept_as_it_is(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    measure = tell_lab(lab, record(lab, tmp_path)).steps[2]
    assert [row.words for row in measure.rules["Passed"]][1:] == [
        "TCP packets to svc/web, port 80: go on in KUBE-SVC-X",
        "TCP packets: their target becomes web-2:8080 (10.244.2.3:8080)",
    ]
    assert [row.name for row in measure.plots[0].rows] == ["in iptables", "in the socket"]
    assert [*measure.facts] == ["EarlierRules", "Flows"], "rules that no packet passed are no story"


def test_states_are_what_is_recorded(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    told = tell_lab(lab, evidence)
    assert [one.state for one in told.steps] == [State.TRUE, State.FALSE, State.TRUE]
    assert (told.done, told.true, len(told.claims)) == (3, 2, 3)
    evidence.wipe("ask")
    evidence.wipe("look")
    evidence.of("look").typed([])
    assert [one.state for one in tell_lab(lab, evidence).steps] == [State.TO_DO, State.UNDER_WAY, State.TRUE]
    assert {one.state for one in tell_lab(lab, Evidence(tmp_path / "none")).steps} == {State.TO_DO}


def test_a_capture_that_is_half_written_or_gone_says_so(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    evidence.of("ask").pcap("pod").write_bytes(cut_off(exchange("10.96.0.10", 80)))
    assert "ends inside a packet" in tell_lab(lab, evidence).steps[0].comparisons[0].after.trouble
    evidence.of("ask").pcap("pod").unlink()
    assert "No such file" in tell_lab(lab, evidence).steps[0].comparisons[0].after.trouble


def test_a_fact_that_fits_no_drawing_is_kept_as_it_is(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    evidence.add("measure", "facts", "Latencies", {"what": "connect()", "microseconds": "many"})
    evidence.add("measure", "facts", "Passed", [{"chain": 1, "text": 2, "packets": 3}])
    measure = tell_lab(lab, evidence).steps[2]
    assert (measure.plots, measure.rules) == ([], {})
    assert {"Latencies", "Passed"} <= measure.facts.keys()


def test_a_time_of_a_day_has_an_axis(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    evidence.of("measure").record(Latencies("connect()", {"asleep": [86_400e6]}))
    (drawn,) = tell_lab(lab, evidence).steps[2].plots
    assert 4 <= len(drawn.ticks) <= 10
