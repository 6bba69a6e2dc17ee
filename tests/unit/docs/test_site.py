"""The site of the documents (`make docs`): every page is there as GitHub shows it, and no link leads nowhere."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[3]
MKDOCS = ROOT / "build/docs-venv/bin/mkdocs"
CHINESE = ".zh-CN.md"
# What would be another count if a list, a table or a fence were understood otherwise than it is on GitHub.
COUNTED = ("li", "ul", "ol", "table", "tr", "pre", "code", "h1", "h2", "h3", "strong", "em", "img", "blockquote")


@cache
def documents() -> list[str]:
    """Return every Markdown file of the checkout, but what was built and what only a forge reads."""
    here = [path for path in ROOT.iterdir() if not path.name.startswith((".", "build"))]
    files = chain.from_iterable([path] if path.is_file() else path.rglob("*.md") for path in here)
    return sorted(str(file.relative_to(ROOT)) for file in files if file.suffix == ".md")


def on_the_site(document: str) -> str:
    return re.sub(r"(^|/)README\.html$", r"\1index.html", document.removesuffix(".md") + ".html")


def article(page: Path) -> str:
    (found,) = re.findall(r"<article[^>]*>(.*?)</article>", page.read_text(), re.DOTALL)
    return found


def counts(html: str) -> Counter[str]:
    return Counter(tag for tag in re.findall(r"<([a-z]+\d?)[ >]", html) if tag in COUNTED)


def links(html: str) -> Iterator[tuple[str, str]]:
    """Return path and anchor of all that a page links to or loads."""
    for tag in re.findall(r"<[a-z][^<>]*>", html):
        for address in re.findall(r'\b(?:href|src|srcset)="?([^"\s>]*)', tag):
            path, _, anchor = unquote(address).partition("#")
            yield path.partition("?")[0], anchor


@cache
def names(page: Path) -> set[str]:
    return set(re.findall(r'\b(?:id|name)="?([^"\s>]+)', page.read_text()))


def test_every_document_is_a_page_that_has_what_github_shows(site: Path) -> None:
    github = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for document in documents():
        shown = counts(article(site / on_the_site(document)))
        assert shown == counts(github.render((ROOT / document).read_text())), document


def test_every_document_is_in_the_navigation_of_its_language(site: Path) -> None:
    for start, is_chinese in (("index.html", False), ("README.zh-CN.html", True)):
        listed = {path for path, _ in links((site / start).read_text())}
        wanted = {on_the_site(name) for name in documents() if name.endswith(CHINESE) == is_chinese}
        assert not wanted - listed, start


def test_every_link_of_every_page_leads_to_something_on_the_site(site: Path) -> None:
    broken: list[str] = []
    for page in site.rglob("*.html"):
        for path, anchor in set(links(page.read_text())):
            if re.match(r"(https?|mailto|data):", path) or page.name == "404.html":
                continue
            there = (page.parent / path).resolve() if path else page
            if not there.is_file() or (anchor and there.suffix == ".html" and anchor not in names(there)):
                broken.append(f"{page.relative_to(site)}: {path}#{anchor}")
    assert not broken


def test_nothing_that_a_page_loads_is_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe|source|link)\b[^>]*(?:src|href|srcset)=\"?([^\"\s>]+)", page.read_text()
        )
        assert loaded, page
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//\S+", sheet.read_text()), sheet


def test_a_page_without_a_translation_says_so_and_links_the_english_one(site: Path) -> None:
    stub = article(site / "docs/operations.zh-CN.html")
    assert re.search(r'本页尚无中文版。请阅读英文版：<a href="operations.html">Operations</a>', stub)
    whole = article(site / "labs/01-socket-lb/README.zh-CN.html")
    assert "本页尚无中文版" not in whole


@pytest.mark.parametrize(
    ("page", "english", "chinese"),
    [
        ("index.html", "index.html", "README.zh-CN.html"),
        ("labs/01-socket-lb/README.zh-CN.html", "index.html", "README.zh-CN.html"),
        ("docs/operations.html", "operations.html", "operations.zh-CN.html"),
        ("setup/apt-packages.txt.html", "apt-packages.txt.html", "../README.zh-CN.html"),
    ],
)
def test_the_switch_leads_to_the_same_page_in_the_other_language(
    site: Path, page: str, english: str, chinese: str
) -> None:
    html = (site / page).read_text()
    switch = re.findall(r'<a href="([^"]+)" hreflang="(\w+)" class="md-select__link">', html)
    assert switch == [(english, "en"), (chinese, "zh")]
    assert f'<html lang="{"zh" if ".zh-CN." in page else "en"}"' in html


def test_a_file_of_the_source_that_a_page_names_can_be_read(site: Path) -> None:
    shown = article(site / "setup/apt-packages.txt.html")
    assert len(re.findall("<pre>", shown)) == 1
    assert (ROOT / "setup/apt-packages.txt").read_text().splitlines()[0].replace("'", "&#39;") in shown
    assert '<a href="agent/README.md">' not in article(site / "roles/index.html")
    assert '<a href="agent/index.html">' in article(site / "roles/index.html")


@pytest.fixture
def small(tmp_path: Path, site: Path) -> Path:
    """A checkout with two pages and our own settings, but no search, which takes longer than all the rest."""
    shutil.copytree(ROOT / "docs/site", tmp_path / "docs/site")
    (tmp_path / "docs/pictures").mkdir()
    (tmp_path / "docs/site/small.yml").write_text(
        "INHERIT: mkdocs.yml\nplugins: []\nnav:\n  - One | 一:\n      - README.md\n      - docs/*.md\n"
    )
    (tmp_path / "README.md").write_text("# Start\n\nSee [more](docs/more.md#what-is-more).\n")
    (tmp_path / "README.zh-CN.md").write_text("# 开始\n")
    (tmp_path / "docs/more.md").write_text("# More\n\n## What is more\n")
    return tmp_path


def build(checkout: Path) -> subprocess.CompletedProcess[str]:
    words = [MKDOCS, "build", "--config-file", checkout / "docs/site/small.yml"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, env=quiet, capture_output=True, text=True, check=False)


def test_a_page_and_a_heading_that_are_there_can_be_linked(small: Path) -> None:
    done = build(small)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr


def test_what_leads_nowhere_or_stands_nowhere_fails_the_build(small: Path) -> None:
    (small / "other.md").write_text("# Other\n")
    (small / "docs/more.md").write_text("# More\n\n## What was more\n\n[gone](gone.md)\n")
    (small / "README.zh-CN.md").write_text("# 开始\n\n[没有](docs/none.md)\n")
    done = build(small)
    assert done.returncode == 1
    for told in (
        'not included in the "nav" configuration:\n  - other.md',
        "'docs/more.md' does not contain an anchor '#what-is-more'",
        "'docs/more.md' contains a link 'gone.md'",
        "'README.zh-CN.md' contains a link 'docs/none.md'",
    ):
        assert told in done.stderr, done.stderr
    assert done.stderr.count("WARNING") == 4, done.stderr
