"""The verdicts of a run as JUnit XML: one test case per claim; false is a failure, doubt is an error."""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from labs.engine.claims import Claim, Verdict
from labs.engine.runner import Result

TAGS = {Verdict.FALSE: "failure", Verdict.DOUBT: "error", Verdict.SKIPPED: "skipped"}


def write(file: Path, labs: Mapping[str, Sequence[Result]]) -> None:
    root = ET.Element("testsuites")
    for lab, results in labs.items():
        root.append(_suite(lab, results))
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _suite(lab: str, results: Sequence[Result]) -> ET.Element:
    counts = Counter(claim.verdict for result in results for claim in result.claims)
    suite = ET.Element("testsuite", name=f"lab {lab}", tests=str(counts.total()))
    for attribute, verdict in ("failures", Verdict.FALSE), ("errors", Verdict.DOUBT), ("skipped", Verdict.SKIPPED):
        suite.set(attribute, str(counts[verdict]))
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    suite.extend(_case(lab, result, claim) for result in results for claim in result.claims)
    return suite


def _case(lab: str, result: Result, claim: Claim) -> ET.Element:
    seconds = f"{result.seconds / len(result.claims):.3f}"
    case = ET.Element("testcase", classname=f"{lab}.{result.step.key}", name=claim.must, time=seconds)
    if claim.verdict in TAGS:
        ET.SubElement(case, TAGS[claim.verdict], message=claim.seen)
    return case
