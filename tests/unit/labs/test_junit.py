"""JUnit XML of a run."""

import xml.etree.ElementTree as ET
from pathlib import Path

from labs.engine import junit
from labs.engine.claims import Claim, Verdict
from labs.engine.model import Step
from labs.engine.runner import Result


def test_each_claim_is_a_test_case_false_a_failure_and_doubt_an_error(tmp_path: Path) -> None:
    claims = tuple(Claim(f"must be {verdict}", f"<seen> & {verdict}", verdict) for verdict in Verdict)
    junit.write(tmp_path / "lab.xml", {"01-socket-lb": [Result(Step("The wire"), claims, 3.0)], "02-other": []})
    suite, _ = ET.parse(tmp_path / "lab.xml").getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert [(case.get("classname"), case.get("name")) for case in suite] == [
        ("01-socket-lb.the-wire", f"must be {verdict}") for verdict in Verdict
    ]
    assert [[(child.tag, child.get("message")) for child in case] for case in suite] == [
        [],
        [("failure", "<seen> & false")],
        [("error", "<seen> & doubt")],
        [("skipped", "<seen> & skipped")],
    ]
