"""The result of one check, and results as JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Result(NamedTuple):
    """`check`: the kind of check; `subject`: what was checked; `seen`: the result; `next`: the next command."""

    check: str
    subject: str
    verdict: str
    seen: str
    next: str = ""


def failed(results: Sequence[Result]) -> bool:
    """Return whether anything does not work."""
    return any(result.verdict == FAILED for result in results)


def write_junit(file: Path, found: Mapping[str, Sequence[Result]], seconds: float) -> None:
    """Write a test suite for each node, with a test case for each result.

    Raises:
        OSError: it cannot be written.
    """
    root = ET.Element("testsuites", time=f"{seconds:.3f}")
    root.extend(_suite(node, results) for node, results in found.items())
    ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _suite(node: str, results: Sequence[Result]) -> ET.Element:
    suite = ET.Element("testsuite", name=f"socklb check {node}".strip(), tests=str(len(results)), errors="0")
    suite.set("failures", str(sum(result.verdict == FAILED for result in results)))
    suite.set("skipped", str(sum(result.verdict == SKIPPED for result in results)))
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=f"socklb.{result.check}", name=result.subject)
        if result.verdict == FAILED:
            ET.SubElement(case, "failure", message=result.seen).text = result.next and f"next: {result.next}"
        elif result.verdict == SKIPPED:
            ET.SubElement(case, "skipped", message=result.seen)
    return suite
