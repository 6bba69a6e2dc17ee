"""docs/reference.md says what the code says: its tables are those that setup/reference.py prints."""

import re

import pytest

from setup.reference import PAGE, SECTIONS, printed
from socklb.config import KEYS
from socklb.health.alarms import NAMES


def test_the_page_has_each_section_as_the_code_has_it() -> None:
    page = PAGE.read_text()
    assert printed(page) == page, "docs/reference.md is older than the code: run `make format`"


def test_the_page_has_each_section_once() -> None:
    assert sorted(re.findall(r"^<!-- printed from the code: (\w+) -->$", PAGE.read_text(), re.MULTILINE)) == sorted(
        SECTIONS
    )


@pytest.mark.parametrize(("changed", "by"), [("| `node` |", "| `nodes` |"), ("| `records_lost` |", "| `lost` |")])
def test_a_page_that_was_changed_by_hand_is_found(changed: str, by: str) -> None:
    page = PAGE.read_text()
    edited = page.replace(changed, by)
    assert edited != page
    assert printed(edited) == page


def test_no_key_and_no_alarm_is_left_out() -> None:
    page = PAGE.read_text()
    assert [name for name in (*KEYS, *NAMES) if f"`{name}`" not in page] == []
