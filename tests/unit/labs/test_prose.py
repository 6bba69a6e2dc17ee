"""A README read as the prose of a lab."""

import pytest

from labs.engine.errors import LabError
from labs.engine.prose import paragraphs, parse

README = """# Two steps

Why this lab
is there.

## 1. The first

Because of `this`.

```console
$ lab exec client -- true
what it prints
$ lab exec w1 -- true
```

It means that.

## 2. The second

Only words.

## What you have seen

Both.
"""


def test_a_readme_has_title_introduction_steps_and_closing_words() -> None:
    prose = parse(README)
    assert (prose.title, prose.intro, prose.closing) == ("Two steps", "Why this lab\nis there.", "Both.")
    first, second = prose.sections
    assert (first.number, first.title, first.why, first.meaning) == (
        1,
        "The first",
        "Because of `this`.",
        "It means that.",
    )
    assert first.typed == ("lab exec client -- true", "lab exec w1 -- true")
    assert (second.title, second.why, second.typed, second.meaning) == ("The second", "Only words.", (), "")


def test_steps_must_be_numbered_one_by_one() -> None:
    with pytest.raises(LabError, match=r"\[1, 3\]"):
        parse(README.replace("## 2.", "## 3."))


def test_a_block_of_commands_without_a_command_is_an_error() -> None:
    with pytest.raises(LabError, match="no line that starts"):
        parse(README.replace("$ ", ""))


def test_paragraphs_are_single_lines_and_leave_code_out() -> None:
    assert paragraphs("One\nline.\n\n```mermaid\na --> b\n```\n\n- first\n- second\n  goes on\n") == [
        "One line.",
        "- first",
        "- second goes on",
    ]


def test_the_rows_of_a_table_are_items_that_say_what_each_cell_is_about() -> None:
    table = (
        "Two ask:\n\n| who | asks | translated by |\n|---|---|---|\n| a pod | x | a hook |\n| outside | y | w2 |\n\n."
    )
    assert paragraphs(table) == [
        "Two ask:",
        "- a pod · asks: x · translated by: a hook",
        "- outside · asks: y · translated by: w2",
        ".",
    ]


def test_the_corner_of_a_table_may_be_empty() -> None:
    assert paragraphs("| | when |\n|---|---|\n| socket | before |") == ["- socket · when: before"]


FOLDED = """\
# Lab

## 1. Mend it

Something is broken.

```console
$ lab exec w1 -- look
```

It looks like this.

<details><summary>Hint</summary>
Look again,
and longer.
</details>

<details><summary>Solution</summary>

```console
$ lab exec w1 -- mend
```

</details>
"""


def test_what_a_readme_folds_away_is_hint_or_solution_and_no_prose() -> None:
    (section,) = parse(FOLDED).sections
    assert section.typed == ("lab exec w1 -- look", "lab exec w1 -- mend")
    assert section.hidden == {"lab exec w1 -- mend"}
    assert section.hints == ("Look again, and longer.",)
    assert (section.why, section.meaning) == ("Something is broken.", "It looks like this.")
