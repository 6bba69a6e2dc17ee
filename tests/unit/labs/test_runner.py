"""Steps done and judged."""

import json
from pathlib import Path

import pytest

from labs.engine import stage
from labs.engine.claims import Claim, Verdict, true
from labs.engine.env import Env
from labs.engine.errors import BrokenCaptureError, CannotRunError
from labs.engine.evidence import Evidence, Seen
from labs.engine.model import Commands, Step, available
from labs.engine.needs import Need, inventories
from labs.engine.places import at
from labs.engine.runner import Result, exit_code, judge, run_step, with_controls
from labs.engine.scenario import Scenario
from labs.engine.session import open_lab
from labs.engine.stage import prepare, restore
from labs.engine.verbs.run import in_order
from tests.unit.labs.bench import Bench, Rules


def run(bench: Bench, *steps: Step, strict: bool = True) -> list[Result]:
    return [run_step(bench.lab, step, bench.env(step), bench.evidence, strict=strict) for step in steps]


def verdicts(results: list[Result]) -> list[Verdict]:
    return [claim.verdict for result in results for claim in result.claims]


def test_a_step_is_false_before_and_true_after_it_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert [claim.verdict for claim in judge(bench.ask, bench.evidence)] == [Verdict.FALSE]
    assert verdicts(run(bench, bench.ask, bench.look)) == [Verdict.TRUE] * 5
    assert [claim.verdict for claim in judge(bench.ask, bench.evidence)] == [Verdict.TRUE] * 2


def test_a_false_claim_is_false_and_exits_with_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seen=["dnat"])
    (result,) = run(bench, bench.ask, bench.look, strict=False)[1:]
    assert verdicts([result]) == [Verdict.FALSE]
    assert exit_code(result.claims) == 1


def test_a_control_that_found_nothing_exits_with_four(tmp_path: Path) -> None:
    bench = Bench(tmp_path, control=[])
    results = run(bench, bench.ask, bench.look, strict=False)
    assert exit_code([claim for result in results for claim in result.claims]) == 4


def test_a_step_without_its_control_is_in_doubt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (result,) = run(bench, bench.look, strict=False)
    assert verdicts([result]) == [Verdict.DOUBT]
    assert "Ask" in result.claims[0].seen


def test_a_step_on_its_own_takes_along_the_control_that_is_not_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert with_controls(bench.look, bench.evidence) == [bench.ask, bench.look]
    run(bench, bench.ask)
    assert with_controls(bench.look, bench.evidence) == [bench.look]


def test_a_check_that_is_true_without_evidence_is_in_doubt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ask.checks[:] = [lambda seen: [true("always", True, "yes")]]  # noqa: ARG005
    (result,) = run(bench, bench.ask)
    assert verdicts([result]) == [Verdict.DOUBT, Verdict.TRUE]


def test_evidence_of_an_earlier_run_does_not_help_a_step_that_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    run(bench, bench.ask)
    bench.ask.observes[:] = []  # finds nothing this time
    (result,) = run(bench, bench.ask, strict=False)
    assert verdicts([result]) == [Verdict.FALSE]
    assert "has recorded no Rules" in result.claims[0].seen


def test_an_act_goes_by_what_its_commands_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def until_told(on: Scenario) -> Commands:
        for word in "one", "two", "three":
            said = yield at(on.client, word)
            if said.out == "two":
                break

    bench.ask.acts[:] = [until_told]
    run(bench, bench.ask, strict=False)
    assert [output.out for output in bench.evidence.of("ask").outputs] == ["one", "two"]
    assert [command.words for command in bench.ask.commands(bench.env().on)] == [("one",), ("two",), ("three",)]


def test_a_capture_that_breaks_makes_its_step_doubtful_and_the_next_one_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def breaks(_: Env) -> None:
        raise BrokenCaptureError("tcpdump: eth9: no such device")

    bench.ask.prepares[:] = [breaks]
    first, second = run(bench, bench.ask, bench.look, strict=False)
    assert verdicts([first]) == [Verdict.DOUBT]
    assert "eth9" in first.claims[0].seen
    assert verdicts([second]) == [Verdict.DOUBT]


def test_a_capture_that_cannot_be_read_is_doubt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def unreadable(_: Seen) -> list[Claim]:
        raise BrokenCaptureError("no pcap file")

    bench.ask.checks[:] = [unreadable]
    assert verdicts(run(bench, bench.ask, strict=False)) == [Verdict.DOUBT]


def test_what_cannot_run_stops_the_lab(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def cannot(_: Env) -> None:
        raise CannotRunError("node w1 is not there")

    bench.ask.observes[:] = [cannot]
    with pytest.raises(CannotRunError):
        run(bench, bench.ask)


def test_doubt_weighs_more_than_falsehood() -> None:
    claims = {verdict: Claim("must", "seen", verdict) for verdict in Verdict}
    assert exit_code([claims[Verdict.TRUE]]) == 0
    assert exit_code([claims[Verdict.TRUE], claims[Verdict.FALSE]]) == 1
    assert exit_code([claims[Verdict.FALSE], claims[Verdict.DOUBT]]) == 4


def test_the_screen_shows_why_before_the_verdict(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    run(bench, bench.ask)
    said = bench.printed.getvalue()
    assert "Step 1 of 2 · Ask ──" in said
    assert said.index("why ask") < said.index("✓ some are found")


def test_reset_undoes_what_a_step_may_leave(tmp_path: Path) -> None:
    bench, undone = Bench(tmp_path), []

    @bench.lab.reset
    def stop(env: Env) -> None:
        undone.append(env)

    restore(bench.lab, bench.env())
    assert len(undone) == 1


def test_evidence_outlives_the_process_and_is_removed_as_a_whole(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state")
    run(bench, bench.ask)
    again = Evidence(tmp_path / "state")
    assert again.of("ask")[Rules] == Rules(["rule"])
    assert again.of("ask").recorded
    again.remove()
    assert not (tmp_path / "state").exists()


def test_a_step_whose_needs_are_not_met_is_skipped_with_the_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.look.needs = [inventories("kind", because="it looks at a kubelet")]
    results = run(bench, bench.ask, bench.look)
    (claim,) = results[1].claims
    assert claim.verdict is Verdict.SKIPPED
    assert claim.seen == "not on the inventory 'local' (it looks at a kubelet); on kind"
    assert bench.evidence.of("look").outputs == [], "nothing of it was done"
    assert exit_code([claim for result in results for claim in result.claims]) == 0
    assert exit_code([claim]) == 3, "where nothing else was done, nothing could run"


def test_a_step_whose_control_cannot_be_had_is_skipped_with_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ask.needs = [inventories("kind", because="it looks at a kubelet")]
    assert bench.look.builds_on == [bench.ask]
    results = run(bench, bench.ask, bench.look)
    assert verdicts(results) == [Verdict.SKIPPED] * 2
    assert {claim.seen for result in results for claim in result.claims} == {
        "not on the inventory 'local' (it looks at a kubelet); on kind"
    }


def test_what_a_machine_that_tests_must_have_is_no_excuse_there(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ask.needs = [Need("no bpftool".format, excuses_ci=False)]
    assert verdicts(run(bench, bench.ask, strict=True)) == [Verdict.FALSE]
    assert verdicts(run(bench, bench.ask, strict=False)) == [Verdict.SKIPPED]


def test_of_several_labs_those_with_the_same_deploy_follow_each_other_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = in_order([open_lab(name) for name in available()])
    assert [one.lab.number for one in sessions][-4:] == ["12", "02", "03", "11"]
    monkeypatch.setattr(stage, "state_folder", lambda: tmp_path / "state")
    bench, built = Bench(tmp_path), list[str]()
    monkeypatch.setattr(stage, "deploy", lambda name, _: built.append(name))
    bench.lab.deploy = "nowhere"
    prepare(bench.lab, bench.env())
    restore(bench.lab, bench.env(), deploy=None)
    prepare(bench.lab, bench.env())
    assert built == ["nowhere"]
    restore(bench.lab, bench.env())
    assert built == ["nowhere", "cluster"]


def test_a_cluster_that_a_lab_is_not_for_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "state_folder", lambda: tmp_path / "state")
    bench = Bench(tmp_path)
    bench.lab.deploy, bench.lab.needs = "nowhere", [Need(lambda _: "another kind of cluster", excuses_ci=True)]
    prepare(bench.lab, bench.env())
    bench.lab.needs = []
    with pytest.raises(CannotRunError, match="could not be built"):
        prepare(bench.lab, bench.env())


def test_a_check_that_can_make_nothing_of_what_was_typed_is_doubt(tmp_path: Path) -> None:
    """A reader may type anything: lab 03 reads JSON from `python3`, and `python3 --version` prints none."""
    bench = Bench(tmp_path)

    @bench.ask.check
    def reads_json(seen: Seen) -> list[Claim]:
        return [true("it is JSON", json.loads(seen.outputs[-1].out), "")]

    (result,) = run(bench, bench.ask, strict=False)
    assert verdicts([result]) == [Verdict.DOUBT]
    assert "can make nothing of what was recorded: JSONDecodeError" in result.claims[0].seen
