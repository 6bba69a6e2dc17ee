"""The site of the documents in a real browser, at two widths and in both languages. Pictures: build/docs-*.png."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.accessible import violations
from tests.support.browser import Browser, Page

ROOT = Path(__file__).parents[3]
WIDTHS = [390, 1280]
STARTS = {"en": "index.html", "zh": "README.zh-CN.html"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def nothing_is_wrong(page: Page, address: str) -> None:
    assert page.said == []
    assert [asked for asked in page.asked_for if not asked.startswith((address, "blob:"))] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", STARTS)
def test_the_first_page_fits_complains_of_nothing_and_asks_nobody_else(
    browser: Browser, address: str, language: str, width: int
) -> None:
    page = browser.open(f"{address}/{STARTS[language]}", width=width)
    page.picture(ROOT / f"build/docs-{language}-{width}.png")
    nothing_is_wrong(page, address)
    assert page.value("document.documentElement.lang") == language
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("[...document.images].filter(one => one.complete && !one.naturalWidth).length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_on_the_first_page_can_be_told_from_what_is_behind_it(
    browser: Browser, address: str, dark: bool
) -> None:
    browser.open(f"{address}/index.html").value("localStorage.clear()")  # which of the two an earlier page was
    page = browser.open(f"{address}/index.html", dark=dark)
    page.until(f"document.body.dataset.mdColorScheme == '{'slate' if dark else 'default'}'")
    assert violations(page, "color-contrast") == []


@pytest.mark.parametrize("language", STARTS)
def test_what_the_first_page_links_can_be_opened(browser: Browser, address: str, language: str) -> None:
    page = browser.open(f"{address}/{STARTS[language]}")
    missing = page.value("""(async () => {
        const links = [...document.links].map(one => one.href.split("#")[0]);
        const here = new Set(links.filter(one => one.startsWith(location.origin)));
        const asked = [...here].map(async one => [one, (await fetch(one)).status]);
        const answers = await Promise.all(asked);
        return [answers.length, answers.filter(([, status]) => status !== 200)];
    })()""")
    assert missing[0] > 30
    assert missing[1] == []


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("masquerade", "docs/how-it-works.html"),
        ("conntrack", "labs/08-masquerade/index.html"),
        ("套接字", "labs/09-what-hooks-cannot-see/README.zh-CN.html"),
        ("会话亲和性", "labs/05-affinity-and-policies/README.zh-CN.html"),
    ],
)
def test_the_search_finds_words_of_both_languages(browser: Browser, address: str, word: str, found: str) -> None:
    page = browser.open(f"{address}/index.html?q={quote(word)}")
    page.until("document.querySelectorAll('.md-search-result__item').length")
    listed = page.value("[...document.querySelectorAll('.md-search-result__item a')].map(one => one.pathname.slice(1))")
    assert found in listed
    nothing_is_wrong(page, address)


def test_the_search_says_of_a_word_that_is_nowhere_that_there_is_none(browser: Browser, address: str) -> None:
    page = browser.open(f"{address}/index.html?q=zzyzx")
    page.until("/^(No|0) /.test(document.querySelector('.md-search-result__meta')?.innerText ?? '')")
    assert page.value("document.querySelectorAll('.md-search-result__item').length") == 0


@pytest.mark.parametrize(
    ("path", "charts"), [("docs/architecture.html", 3), ("labs/01-socket-lb/README.zh-CN.html", 1)]
)
def test_charts_are_drawn_by_the_site_itself(browser: Browser, address: str, path: str, charts: int) -> None:
    page = browser.open(f"{address}/{path}")
    page.until(f"document.querySelectorAll('div.mermaid').length == {charts}")
    drawn = page.value("[...document.querySelectorAll('div.mermaid')].map(one => one.getBoundingClientRect().height)")
    assert min(drawn) > 50
    assert f"{address}/mermaid.js" in page.asked_for
    page.picture(ROOT / f"build/docs-{re.sub(r'[/.]', '-', path)}.png")
    nothing_is_wrong(page, address)


def test_the_switch_leads_to_the_same_lab_in_the_other_language(browser: Browser, address: str) -> None:
    english = browser.open(f"{address}/labs/01-socket-lb/index.html")
    page = browser.open(english.value("document.querySelector('.md-select__link[hreflang=zh]').href"))
    assert page.value("document.querySelector('h1').innerText").startswith("逐包观察套接字负载均衡")
    tabs = page.value("[...document.querySelectorAll('.md-tabs__link')].map(one => one.innerText.trim())")
    assert tabs == ["快速入门", "教程", "操作指南", "参考", "原理与设计"]
