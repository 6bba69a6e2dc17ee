"""A lab told in Chinese, on the real cluster: prose, messages and claims; and the same verdicts as in English."""

import re
from pathlib import Path

import pytest

from labs.engine.language import CHINESE
from labs.engine.model import load
from labs.engine.prose import paragraphs
from tests.labs.command import cases, lab
from tests.support.cluster import Cluster

CHARACTER = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def told(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    junit = tmp_path_factory.mktemp("lab") / "junit.xml"
    done = lab("run", "01", "--ci", "--lang", CHINESE, "--junit", str(junit))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, junit


def test_every_claim_holds_and_what_is_recorded_is_english(told: tuple[str, Path]) -> None:
    found = cases(told[1])
    assert [case for case in found if case[2] != "true"] == []
    assert ("01-socket-lb.what-is-deployed", "the agent is said to run", "true") in found


def test_prose_headings_and_claims_are_told_in_chinese(told: tuple[str, Path]) -> None:
    out, _ = told
    prose = load("01", CHINESE).prose
    said = _unwrapped(out)
    for section in prose.sections:
        assert f"第 {section.number}/{len(prose.sections)} 步 · {section.title}" in out
        assert [
            text for text in paragraphs(section.why + "\n\n" + section.meaning) if _unwrapped(text) not in said
        ] == []
    claims = re.findall("^✓ .*", out, re.MULTILINE)
    assert len(claims) > len(prose.sections)
    assert [claim for claim in claims if not CHARACTER.search(claim)] == []
    assert re.search(r"\d+ 项断言中 \d+ 项成立，用时", out)


def test_no_line_is_wider_than_the_screen_but_for_commands_and_what_they_say(told: tuple[str, Path]) -> None:
    from rich.cells import cell_len

    lines = [line for line in told[0].splitlines() if CHARACTER.search(line) and "tcpdump" not in line]
    assert [line for line in lines if cell_len(line) > 80] == []


def _unwrapped(text: str) -> str:
    return re.sub(r"\s", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
