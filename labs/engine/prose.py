"""A lab's README is the only source of its prose: the screen shows the same text as the page.

# Lab title
introduction
## 1. Title of the first step
why it is done
```console
$ what a reader types
```
what it means
<details><summary>Hint</summary>        (any number; in a <details> with another summary: a solution)
text
</details>
## What you have seen          (any heading without a number: the closing words)

In README.zh-CN.md a hint is 提示, and a paragraph is one line: a line break would become a space between characters.
"""

import re
from dataclasses import dataclass, replace

from labs.engine.errors import LabError
from labs.engine.language import ENGLISH

_DETAILS = re.compile(r"^<details><summary>(.*?)</summary>$(.*?)^</details>$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"(\d+)\. (.+)")
_HINT = ("Hint", "提示")


@dataclass(frozen=True)
class Section:
    number: int
    title: str
    why: str
    typed: tuple[str, ...]
    meaning: str
    hidden: frozenset[str] = frozenset()  # commands that are in a <details>, for readers who give up
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prose:
    title: str
    intro: str
    sections: tuple[Section, ...]
    closing: str
    language: str = ENGLISH


def parse(text: str) -> Prose:
    top, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    title, _, intro = top.strip().partition("\n")
    numbered: list[Section] = []
    closing = ""
    for part in parts:
        heading, _, body = part.partition("\n")
        if found := _STEP.fullmatch(heading.strip()):
            numbered.append(_section(int(found[1]), found[2], body))
        elif not closing:
            closing = body.strip()
    if [section.number for section in numbered] != list(range(1, len(numbered) + 1)):
        raise LabError(f"the steps of '{title}' are not numbered 1, 2, 3, …: {[s.number for s in numbered]}")
    return Prose(title.removeprefix("# ").strip(), intro.strip(), tuple(numbered), closing)


def parse_other(text: str, language: str, english: Prose) -> Prose:
    """Return the same prose in another language; it must have the same steps."""
    prose = replace(parse(text), language=language)
    if len(prose.sections) != len(english.sections):
        steps = f"{len(prose.sections)} steps, and README.md {len(english.sections)}"
        raise LabError(f"'{english.title}': README.{language}.md has {steps}")
    return prose


def paragraphs(markdown: str) -> list[str]:
    """Return the paragraphs of a piece of prose, each on one line; a block of code is left out.

    A list item is a paragraph, and so is a row of a table: `- cell · heading: cell`.
    """
    without_code = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    as_items = re.sub(r"(?:^\|.*\n?)+", lambda found: _rows(found[0]), without_code, flags=re.MULTILINE)
    blocks = re.split(r"\n\s*\n|\n(?=- )", as_items)
    return [" ".join(block.split()) for block in blocks if block.strip()]


def _rows(table: str) -> str:
    """Return a table as a list; each item repeats the column headings."""
    heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    items = ([row[0], *(f"{about}: {cell}" for about, cell in zip(heading[1:], row[1:], strict=True))] for row in rows)
    return "".join(f"- {' · '.join(item)}\n" for item in items)


def _section(number: int, title: str, body: str) -> Section:
    """Return a section. Text before the first block of commands says why; text after it says what it means."""
    folded = _DETAILS.findall(body)
    hints = tuple(" ".join(text.split()) for summary, text in folded if summary in _HINT)
    hidden = frozenset(_commands("".join(text for summary, text in folded if summary not in _HINT)))
    typed = _commands(body)
    fence = "```console\n" in body
    body = _DETAILS.sub("", body)
    why, _, rest = body.partition("```console\n")
    _, _, meaning = rest.partition("\n```")
    if fence and not typed:
        raise LabError(f"step {number}, '{title}': its block of commands has no line that starts with '$ '")
    return Section(number, title.strip(), why.strip(), typed, meaning.strip(), hidden, hints)


def _commands(markdown: str) -> tuple[str, ...]:
    blocks = re.findall(r"^```console\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    return tuple(line.removeprefix("$ ") for code in blocks for line in code.splitlines() if line.startswith("$ "))
