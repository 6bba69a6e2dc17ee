"""The verdicts of a run as JUnit XML: a test case for each claim; false is a failure, doubt is an error."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from labs.engine.claims import Claim, Verdict
from labs.engine.runner import Result


def write(file: Path, lab: str, results: Sequence[Result]) -> None:
    claims = [claim for result in results for claim in result.claims]
    suite = ET.Element("testsuite", name=f"lab {lab}", tests=str(len(claims)), skipped="0")
    suite.set("failures", str(sum(claim.verdict is Verdict.FALSE for claim in claims)))
    suite.set("errors", str(sum(claim.verdict is Verdict.DOUBT for claim in claims)))
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    for result in results:
        for claim in result.claims:
            suite.append(_case(lab, result, claim))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _case(lab: str, result: Result, claim: Claim) -> ET.Element:
    seconds = f"{result.seconds / len(result.claims):.3f}"
    case = ET.Element("testcase", classname=f"{lab}.{result.step.key}", name=claim.must, time=seconds)
    if claim.verdict is not Verdict.TRUE:
        tag = "failure" if claim.verdict is Verdict.FALSE else "error"
        ET.SubElement(case, tag, message=claim.seen)
    return case
