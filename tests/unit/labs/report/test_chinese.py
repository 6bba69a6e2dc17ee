"""The page in Chinese, of evidence that was recorded in English: in a real browser, written and live."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.engine.claims import Claim, Verdict
from labs.engine.language import CHINESE, choose
from labs.engine.model import available, load
from labs.engine.report.live import serving
from labs.engine.report.page import Report
from labs.engine.report.rules import in_words
from labs.engine.rules import Rule
from tests.support.accessible import headings, violations, without_a_gap
from tests.support.browser import Browser
from tests.unit.labs.clusters import local
from tests.unit.labs.report.evidence import a_lab, finish, record

# What the page says by itself: not what stands in a README, was recorded, or is a name.
ITS_OWN = "h4, summary, figcaption strong, th[scope=col], caption, .verdict, .count, .exit, .skip, .kind, header label"
CHARACTER = re.compile("[\u4e00-\u9fff]")
NO_WORDS = {"Service", "Pod", "ms", "5 %", "25 %", "75 %", "95 %", "connect()"}


@pytest.fixture(autouse=True)
def _in_chinese() -> Iterator[None]:
    choose(CHINESE)
    yield
    choose(None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def test_what_the_page_says_itself_is_chinese_and_so_are_claims_that_were_recorded_in_english(
    browser: Browser, tmp_path: Path
) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    claims = [
        Claim("a pod answers", "3 of 5 packets", Verdict.TRUE),
        Claim("that pod answers", "nobody", Verdict.DOUBT),
    ]
    evidence.of("ask").judged(claims, 0.5)
    file = tmp_path / "index.html"
    file.write_text(Report([lab], tmp_path).html())
    page = browser.open(file.as_uri())
    assert page.value("document.documentElement.lang") == CHINESE
    said = page.value(f"[...document.querySelectorAll('{ITS_OWN}')].map(one => one.textContent.trim())")
    assert len(said) > 30
    assert {text for text in said if not CHARACTER.search(text)} <= NO_WORDS
    labels = page.value("[...document.querySelectorAll('main [aria-label], svg title')]"
                        ".map(one => one.ariaLabel ?? one.textContent)")  # fmt: skip
    assert {text for text in labels if not CHARACTER.search(text)} <= {"Flows", "EarlierRules"}
    told = page.value("[...document.querySelectorAll('.claims li')].map(one => one.textContent.replace(/\\s+/g, ' '))")
    assert "✓ 成立 有 Pod 应答 5 个数据包中有 3 个" in told
    assert "? 存疑 由这个 Pod 应答 无人" in told


def test_every_lab_is_told_in_chinese_and_axe_finds_nothing_wrong(browser: Browser, tmp_path: Path) -> None:
    labs = [load(name, CHINESE) for name in available()]
    file = tmp_path / "index.html"
    file.write_text(Report(labs, tmp_path).html())
    page = browser.open(file.as_uri(), width=360)
    told = page.value("[...document.querySelectorAll('h1, h2, h3')].map(one => one.textContent)")
    assert [text for text in told if not CHARACTER.search(text)] == []
    assert "**" not in page.value("document.querySelector('main').textContent"), "markup that is no markup in Chinese"
    assert page.value("document.documentElement.scrollWidth") == 360
    assert violations(page) == []
    assert without_a_gap(headings(page)), headings(page)
    assert page.said == []


def test_the_live_page_follows_in_chinese(browser: Browser, tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    evidence = record(lab, tmp_path)
    with serving(Report([lab], tmp_path), 0) as address:
        page = browser.open(address)
        assert page.value("document.getElementById('status').textContent") == "实时：页面跟随正在做的内容。"
        finish(evidence, "look")
        page.until("document.getElementById('status').textContent === '当前：2. Look：成立'")
    page.until("document.getElementById('status').textContent.includes('已结束')")


def test_rules_are_in_chinese_words() -> None:
    jump = Rule("KUBE-SERVICES", "! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X", 1)
    assert in_words(jump, local()) == "TCP 数据包，并非来自 10.244.0.0/16，发往 svc/web，端口 80：转到 KUBE-SVC-X 链"
