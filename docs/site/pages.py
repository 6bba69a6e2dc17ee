"""MkDocs' hooks by which the site is made from the pages where they stand in the checkout, without a copy of any.

A page keeps its place: labs/01-socket-lb/README.md becomes labs/01-socket-lb/index.html, so that links between pages
need no change. Four things are added:

- Both languages in the navigation, in one order. PAGE.zh-CN.md stands beside PAGE.md; where there is none, a page says
  so and names the English one. Each page sees its own language's half, and a switch to the other.
- A page for each file and folder of the source that a page links to.
- A title for every page that the navigation does not name: its first heading, after the number of a lab.
- Mermaid's script on the pages that have a chart, from the site itself.

`make docs` runs it. It is not for `mkdocs serve`: pages outside of docs/site are not watched.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files as files_of
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import jieba
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
NO_PAGES = ("build", "node_modules")  # folders, beside those whose names begin with a dot
LANGUAGES = {"en": "English", "zh": "中文"}
CHINESE = ".zh-CN.md"
START = {"en": "README.md", "zh": "README.zh-CN.md"}
PICTURES = "docs/pictures"
MERMAID = "mermaid.js"
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
UNSEARCHED = "---\nsearch: { exclude: true }\n---\n"
UNTRANSLATED = UNSEARCHED + "# {title}\n\n本页尚无中文版。请阅读英文版：[{title}]({name})。\n"


def on_config(config: MkDocsConfig) -> None:
    jieba.dt.tmp_dir = sys.prefix  # what it keeps for its next run is no file in /tmp, which anybody may write
    jieba.setLogLevel(logging.WARNING)
    config.nav = [{name: list(_in(language, config.nav or []))} for language, name in LANGUAGES.items()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add what the site consists of to what is in docs/site/assets."""
    pages = _pages()
    for path in (*pages, *_pictures()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, MERMAID, abs_src_path=str(files_of("mermaidx") / "assets/mermaid.js")))
    for page in pages:
        if _language(page) == "en" and _chinese(page) not in pages:
            words = UNTRANSLATED.replace("{title}", _title(page)).replace("{name}", PurePosixPath(page).name)
            files.append(File.generated(config, _chinese(page), content=words))
    for path in sorted(_sources()):
        words, outside = UNSEARCHED + _shown(path), InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, _page_of(path), content=words, inclusion=outside))


def on_nav(nav: Navigation, config: MkDocsConfig, **_: Any) -> None:
    """Cut it between the languages."""
    halves: dict[str, Navigation] = {}
    for language, half in zip(LANGUAGES, nav.items, strict=True):
        for item in half.children:
            item.parent = None
        pages = [page for page in nav.pages if _language(page.file.src_uri) == language]
        pages[0].previous_page = pages[-1].next_page = None
        halves[language] = Navigation(half.children, pages)
        halves[language].homepage = pages[0]
    config.extra["halves"] = halves


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Return it with links to the source leading to the pages that are made for it."""
    page.meta["switch"] = dict(_switch(page.file.src_uri, files))

    def led(link: re.Match[str]) -> str:
        path = _page_of(_target(page.file.src_uri, link[0]))
        return relpath(path, str(PurePosixPath(page.file.src_uri).parent)) if path in files.src_uris else link[0]

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    if 'class="mermaid"' not in html:
        return html
    return f'{html}\n<script src="{files.src_uris[MERMAID].url_relative_to(page.file)}"></script>'


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, **_: Any) -> dict[str, Any]:
    """Return it with all that the theme writes itself in the page's language."""
    language = _language(page.file.src_uri)
    config.theme["language"] = language
    switch = page.meta["switch"].items()
    config.extra["alternate"] = [{"name": LANGUAGES[one], "lang": one, "link": link} for one, link in switch]
    return context | {"nav": config.extra["halves"][language]}


def on_post_page(output: str, **_: Any) -> str:
    """Return it without the languages' links that nobody sees: the theme's script asks for a sitemap beside each."""
    return re.sub(r'<link rel="alternate"[^>]*>', "", output)


def _in(language: str, entries: list[Any]) -> Iterator[Any]:
    """Return the entries of a navigation in one language: each pattern as its pages, each page as its translation."""
    for entry in entries:
        ((title, content),) = entry.items() if isinstance(entry, dict) else [("", entry)]
        names = dict(zip(LANGUAGES, title.split(" | "), strict=True)) if title else {}
        if isinstance(content, list):
            yield {names[language]: list(_in(language, content))}
            continue
        fitting = [page for page in _pages() if PurePosixPath("/", page).match(f"/{content}")]
        for page in [page for page in fitting if _language(page) == "en"] if "*" in content else [content]:
            path = page if language == "en" else _chinese(page)
            named = names.get(language) or (_title(path) if path in _pages() else f"{_title(page)}（英文）")
            yield {_number(path) + named: path}


@cache
def _pages() -> tuple[str, ...]:
    """Return every Markdown file of the checkout, as its path in there."""
    found: list[str] = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NO_PAGES]
        found += (Path(folder, name).relative_to(ROOT).as_posix() for name in names if name.endswith(".md"))
    return tuple(sorted(found))


def _pictures() -> Iterator[str]:
    return (picture.relative_to(ROOT).as_posix() for picture in (ROOT / PICTURES).glob("*"))


def _sources() -> set[str]:
    """Return the files and folders that pages link to and that are neither pages nor pictures."""
    linked = {_target(page, link) for page in _pages() for link in LINK.findall((ROOT / page).read_text())}
    return {path for path in linked.difference(_pages(), _pictures()) if (ROOT / path).exists()}


def _shown(path: str) -> str:
    """Return a page that shows a file, or says what is in a folder."""
    there = ROOT / path
    if there.is_file():
        return f"# `{path}`\n\n`````\n{there.read_text()}\n`````\n"
    names = (one.name + "/" * one.is_dir() for one in there.iterdir() if not one.name.startswith(("_", ".")))
    return f"# `{path}`\n\n" + "\n".join(f"- {_entry(there, name)}" for name in sorted(names))


def _entry(folder: Path, name: str) -> str:
    page = f"{name}README.md" if name.endswith("/") else name
    path = (folder / page).relative_to(ROOT).as_posix()
    return f"[{_title(path)}]({page})" if path in _pages() else f"`{name}`"


def _target(page: str, link: str) -> str:
    """Return where a link leads, as a path in the checkout. A folder's README is what it has to say."""
    path = normpath(PurePosixPath(page).parent / link)
    return f"{path}/README.md" if f"{path}/README.md" in _pages() else path


def _page_of(path: str) -> str:
    """Return the page that stands for something: itself, if it is one."""
    return path if path.endswith(".md") else f"{path}/index.md" if (ROOT / path).is_dir() else f"{path}.md"


def _switch(page: str, files: Files) -> Iterator[tuple[str, str]]:
    """Return where the same page is in each language; where a page has none in Chinese, it is the first page there."""
    english = page.replace(CHINESE, ".md")
    for language, path in (("en", english), ("zh", _chinese(english))):
        yield language, files.src_uris[path if path in files.src_uris else START[language]].url


@cache
def _title(page: str) -> str:
    there = ROOT / page
    found = re.search(r"^# (.+)$", there.read_text() if there.exists() else "", re.MULTILINE)
    return found[1] if found else page


def _number(page: str) -> str:
    """Return a lab's number, which its heading has not, and a blank."""
    found = re.match(r"labs/(\d+)-", page)
    return f"{found[1]} " if found else ""


def _chinese(page: str) -> str:
    return page.removesuffix(".md") + CHINESE


def _language(page: str) -> str:
    return "zh" if page.endswith(CHINESE) else "en"
