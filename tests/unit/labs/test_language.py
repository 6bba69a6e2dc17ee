"""The reader's language: which it is, and what the engine says in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.engine import cli
from labs.engine.errors import LabError
from labs.engine.language import CHINESE, ENGLISH, choose, chosen, gettext, told
from labs.engine.model import load_folder
from labs.engine.wrap import wrap
from tests.support import lab_page


@pytest.fixture(autouse=True)
def _no_language(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in "LC_ALL", "LC_MESSAGES", "LANG":
        monkeypatch.delenv(name, raising=False)
    yield
    choose(None)


@pytest.mark.parametrize(
    ("settings", "language"),
    [
        ({}, ENGLISH),
        ({"LANG": "zh_CN.UTF-8"}, CHINESE),
        ({"LC_MESSAGES": "zh_CN", "LANG": "en_GB.UTF-8"}, CHINESE),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, CHINESE),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, ENGLISH),
    ],
)
def test_the_locale_says_the_language(settings: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert chosen() == language


def test_a_choice_is_above_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    choose(ENGLISH)
    assert (chosen(), gettext("All labs")) == (ENGLISH, "All labs")


def test_messages_and_sentences_are_told_in_chinese() -> None:
    choose(CHINESE)
    assert gettext("All labs") == "全部实验"
    assert told("w2 serves shop") == "w2 提供 shop"
    assert told("web-1; not allowed: nothing") == "web-1；不允许：无", "what fills a pattern is a sentence too"
    assert told("0 of 10 packets (control: 10 of 14)") == "10 个数据包中有 0 个（对照：14 个中有 10 个）"


@pytest.mark.parametrize("sentence", ["unknown to all", "some of all packets", ""])
def test_what_has_no_pattern_is_told_as_it_is(sentence: str) -> None:
    choose(CHINESE)
    assert told(sentence) == sentence


def test_an_error_is_told_in_the_language_that_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "99", "--lang", CHINESE]) == cli.USAGE
    assert "没有实验 '99'" in capsys.readouterr().err


def test_another_language_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["list", "--lang", "xx"])
    said = capsys.readouterr().err
    assert ENGLISH in said
    assert CHINESE in said


def test_a_lab_without_prose_in_the_language_is_told_in_english(tmp_path: Path) -> None:
    folder = lab_page.write(tmp_path)
    assert load_folder(folder, CHINESE).prose.language == ENGLISH
    english = (folder / "README.md").read_text()
    (folder / "README.zh-CN.md").write_text(english.replace("The client talks to a pod", "客户端与 Pod 通信"))
    lab = load_folder(folder, CHINESE)
    assert (lab.prose.language, lab.section(lab.steps[1]).title) == (CHINESE, "客户端与 Pod 通信")
    assert lab.steps[1].title == "The client talks to a pod", "evidence is kept by the same name in every language"


def test_prose_with_other_steps_is_refused(tmp_path: Path) -> None:
    folder = lab_page.write(tmp_path)
    (folder / "README.zh-CN.md").write_text("# 实验\n\n## 1. 一\n")
    with pytest.raises(LabError, match=r"README.zh-CN.md has 1 steps, and README.md 2"):
        load_folder(folder, CHINESE)


def test_a_line_of_chinese_has_half_as_many_characters_and_no_mark_begins_it() -> None:
    assert wrap("一二三四，五六", 8) == ["一二三", "四，五六"]
    assert wrap("调用 `connect()` 时", 10, hanging="  ") == ["调用", "  `connect()`", "  时"]


def test_words_are_kept_whole() -> None:
    assert wrap("- one two-three four", 11, hanging="  ") == ["- one", "  two-three", "  four"]
    assert wrap("", 10) == []
