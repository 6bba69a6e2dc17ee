"""The page in a real browser, with everything on it that a lab can record."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.engine.model import available, load
from labs.engine.report.page import Report
from tests.support.accessible import headings, violations, without_a_gap
from tests.support.browser import Browser
from tests.unit.labs.report.evidence import a_lab, record

WIDTHS = [pytest.param(1280, False, id="wide and light"), pytest.param(360, True, id="a phone and dark")]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bench")
    lab = a_lab(folder)
    record(lab, folder)
    return Report([lab], folder).html()


@pytest.fixture(scope="module")
def address(html: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(html)
    return file.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def test_what_was_recorded_is_text_and_never_markup(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "it holds &amp; &lt;i&gt;" in html
    assert "TCP &lt;/pre&gt;" in html
    assert "Bench &lt;b&gt;" in html


def test_prose_keeps_its_form_and_links_into_the_checkout_are_text(html: str) -> None:
    assert "<strong>ask</strong>" in html
    assert 'See the design and <a href="https://www.rfc-editor.org/rfc/rfc793">the RFC</a>' in html
    assert "flowchart" not in html, "the page draws the cluster itself"


def test_every_step_has_its_verdict_its_command_and_its_claims(html: str) -> None:
    verdicts = re.findall(r'data-verdict="([a-z ]+)"', html)
    assert verdicts == ["true", "false", "true"]
    assert "lab exec client -- curl" in html
    assert "exit status 7" in html
    assert "Closing words" not in html, "not all is true"


@pytest.mark.parametrize(("width", "dark"), WIDTHS)
def test_it_opens_without_a_complaint_and_asks_for_nothing_but_itself(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    page = browser.open(address, width=width, dark=dark)
    assert page.asked_for == [address]
    assert page.said == []
    assert page.value("document.querySelectorAll('svg').length") == 6, "the cluster, four ladders, the plot"


@pytest.mark.parametrize(("width", "dark"), WIDTHS)
def test_axe_finds_nothing_wrong(browser: Browser, address: str, width: int, dark: bool) -> None:
    page = browser.open(address, width=width, dark=dark)
    assert violations(page) == []
    assert without_a_gap(headings(page)), headings(page)


def test_axe_does_find_what_is_wrong(browser: Browser, address: str) -> None:
    page = browser.open(address)
    page.value("document.querySelector('svg title').remove(); document.querySelector('main').style.color = '#777a'")
    found = [one.partition(":")[0] for one in violations(page)]
    assert {"svg-img-alt", "color-contrast"} <= {*found}


@pytest.mark.parametrize(("width", "dark"), WIDTHS)
def test_it_is_as_wide_as_the_screen_and_in_its_colours(browser: Browser, address: str, width: int, dark: bool) -> None:
    page = browser.open(address, width=width, dark=dark)
    assert page.value("document.documentElement.scrollWidth") == width
    paper = page.value("getComputedStyle(document.documentElement).backgroundColor")
    assert paper == ("rgb(18, 23, 29)" if dark else "rgb(255, 255, 255)")


def test_before_and_after_stand_side_by_side_where_there_is_room(browser: Browser, address: str) -> None:
    tops = "[...document.querySelectorAll('.pair figure')].map(one => Math.round(one.getBoundingClientRect().top))"
    before, after = browser.open(address, width=1280).value(tops)
    assert before == after
    before, after = browser.open(address, width=360).value(tops)
    assert before < after


def test_the_keyboard_alone_goes_everywhere(browser: Browser, address: str) -> None:
    page = browser.open(address)
    page.press("Tab", 9)
    assert page.value("document.activeElement.className") == "skip"
    page.press("Enter", 13)
    page.until("document.activeElement.id === 'main'")
    reached: list[str] = []
    for _ in range(page.value("document.querySelectorAll('main [tabindex=\"0\"], main summary, main a').length")):
        page.press("Tab", 9)
        reached.append(page.value("document.activeElement.tagName"))
    assert "SUMMARY" in reached
    page.value("document.querySelector('summary').focus()")
    page.press("Enter", 13)
    page.until("document.querySelector('details').open")


def test_every_lab_there_is_has_its_place_before_anything_is_recorded(browser: Browser, tmp_path: Path) -> None:
    labs = [load(name) for name in available()]
    file = tmp_path / "index.html"
    file.write_text(Report([*labs, a_lab(tmp_path)], tmp_path).html())
    page = browser.open(file.as_uri(), width=360)
    assert page.value("document.querySelectorAll('.step').length") == sum(len(lab.steps) for lab in labs) + 3
    assert page.value("document.documentElement.scrollWidth") == 360
    assert violations(page) == []
    assert without_a_gap(headings(page)), headings(page)
    assert page.said == []
