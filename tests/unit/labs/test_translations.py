"""Chinese tells what English tells: the same steps, commands and figures, every message and every claim."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import polib
import pytest

from labs.engine.language import CHINESE, HOLE, catalogue
from labs.engine.model import LABS, available
from labs.engine.places import ROOT

CLAIMS = ("true", "equal", "within", "says", "control", "first", "answered", "handshake", "absent", "sees", "never")
A_HOLE = "\0"


def parts(file: Path) -> list[str]:
    """The introduction and each section, whose heading is its first line."""
    return re.split(r"^## ", file.read_text(), flags=re.MULTILINE)


def blocks(text: str) -> list[str]:
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)


def figures(text: str) -> list[str]:
    """What has a digit in a code span, and all numbers of two digits or more."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [span for span in re.findall(r"`([^`]+)`", prose) if re.search(r"\d", span)]
    return sorted({*spans, *re.findall(r"(?<![\w.])\d[\d.,:]*\d", prose)})


@cache
def entries(domain: str) -> dict[str, str]:
    return {entry.msgid: entry.msgstr for entry in polib.pofile(str(catalogue(CHINESE, domain)))}


def messages(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            assert isinstance(node.args[0], ast.Constant), f"{file}: _() takes a string as it stands"
            yield str(node.args[0].value)


def template(node: ast.expr) -> str | None:
    """A string or f-string, with a mark where something is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else A_HOLE for v in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def claims(file: Path) -> Iterator[str]:
    """What must hold, of each claim that a file makes, by `c.true(...)` or by a `true` that it imports."""
    nodes = [*ast.walk(ast.parse(file.read_text()))]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "labs.engine.claims"]
    imported = {alias.name for node in froms for alias in node.names}
    for node in nodes:
        match node:
            case ast.Call(ast.Attribute(ast.Name("c"), kind)) | ast.Call(ast.Name(kind)) if kind in CLAIMS:
                if isinstance(node.func, ast.Name) and kind not in imported:
                    continue
                given = [*node.args, *(word.value for word in node.keywords if word.arg == "must")]
                texts = filter(None, map(template, chain.from_iterable(map(choices, given))))
                yield from [text for text in texts if " " in text][:1]  # the others are what is looked for
            case ast.Assign([ast.Name("must")], value):
                yield from filter(None, [template(value)])


def choices(node: ast.expr) -> list[ast.expr]:
    """Return both sides of `must or "..."`."""
    return node.values if isinstance(node, ast.BoolOp) else [node]


@pytest.mark.parametrize("name", available())
def test_a_lab_has_the_same_steps_commands_and_figures_in_chinese(name: str) -> None:
    english, chinese = (parts(LABS / name / file) for file in ("README.md", "README.zh-CN.md"))
    assert len(english) == len(chinese)
    for one, other in zip(english, chinese, strict=True):
        number = re.match(r"\d+\. ", one)
        assert number == re.match(r"\d+\. ", other) or (number and other.startswith(number[0]))
        assert blocks(other) == blocks(one)
        assert figures(other) == figures(one)
        assert other.count("<details>") == one.count("<details>")


@pytest.mark.parametrize("name", available())
def test_a_paragraph_in_chinese_is_one_line(name: str) -> None:
    """Where two lines meet, a page and the screen have a space, which Chinese has not."""
    prose = re.sub(r"^```.*?^```$", "", (LABS / name / "README.zh-CN.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"[^\n]*[\u4e00-\u9fff，。；]\n(?![-|<#\n])[^\n]+", prose.replace("</summary>\n", "")) == []


def of_template(file: Path) -> list[str]:
    return re.findall(r'_\("([^"]*)"\)', file.read_text())


def test_every_message_of_the_engine_is_in_the_catalogue_and_no_other() -> None:
    said = {message for file in sorted((LABS / "engine").rglob("*.py")) for message in messages(file)}
    said |= {message for file in sorted((LABS / "engine").rglob("*.j2")) for message in of_template(file)}
    assert said == {*entries("labs")}


@pytest.mark.parametrize("domain", ["labs", "sentences"])
def test_what_is_filled_in_is_the_same_in_both_languages(domain: str) -> None:
    holes = re.compile(r"\{[^}]+\}")
    differ = [one for one, other in entries(domain).items() if {*holes.findall(one)} != {*holes.findall(other)}]
    assert differ == []
    assert all(entries(domain).values())


@pytest.mark.parametrize("name", available())
def test_every_claim_of_a_lab_is_told_in_chinese_too(name: str) -> None:
    known = {HOLE.sub(A_HOLE, sentence) for sentence in entries("sentences")}
    made = {claim for file in (LABS / name).glob("*.py") for claim in claims(file)}
    assert made
    assert sorted(made - known) == []


def test_no_sentence_is_left_that_nothing_says() -> None:
    trees = [ast.parse(file.read_text()) for file in sorted(LABS.rglob("*.py"))]
    said = {template(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr)} - {None}
    hole = r"(?:\{\w+\}|not |)"
    composed = re.compile("|".join(hole.join(map(re.escape, text.split(A_HOLE))) for text in said if text))
    assert [sentence for sentence in entries("sentences") if not composed.fullmatch(sentence)] == []


def commands(file: Path) -> list[str]:
    """Return what there is to type, without the comments behind it."""
    return [re.sub(r" +# .*", "", block) for block in blocks(file.read_text()) if block.startswith("```sh")]


def test_both_readmes_of_the_project_say_to_type_the_same_and_name_each_other() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    assert len(commands(english)) > 1
    assert commands(chinese) == commands(english)
    assert f"]({chinese.name})" in "".join(english.read_text().splitlines()[:4])
    assert f"]({english.name})" in chinese.read_text()


def test_the_chinese_readme_leads_to_every_lab() -> None:
    linked = re.findall(r"\(labs/([\w-]+)/README.zh-CN.md\)", (ROOT / "README.zh-CN.md").read_text())
    assert linked == available()
