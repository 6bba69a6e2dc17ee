"""docs/reference.md says what the code says: its tables are those that setup/reference.py prints."""

import inspect
import re
from collections.abc import Iterator

import msgspec
import pytest

from setup.reference import PAGE, SECTIONS, printed
from socklb.check import checks
from socklb.cli import explain
from socklb.config import KEYS
from socklb.datapath.decisions import HOOKS, TEXTS, VERDICTS
from socklb.health.alarms import NAMES
from socklb.report import Report
from socklb.sockets import deciding, shown


def section(heading: str) -> str:
    return PAGE.read_text().split(f"\n### {heading}\n")[1].split("\n##")[0]


def keys_of(code: object) -> list[str]:
    """The keys of a dictionary that a function returns."""
    return re.findall(r'^ +"(\w+)": ', inspect.getsource(code), re.MULTILINE)  # type: ignore[arg-type]


def fields(of: type[msgspec.Struct]) -> Iterator[str]:
    """The fields of a struct and of those in it."""
    for field in msgspec.structs.fields(of):
        yield field.name
        for inner in [field.type, *getattr(field.type, "__args__", ())]:
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from fields(inner)


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


def test_every_key_of_the_status_is_described() -> None:
    assert [name for name in fields(Report) if f"`{name}`" not in section("`socklb status --json`")] == []


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ("explain", explain._document),
        ("socket list", shown._row),
        ("monitor", deciding.Rows.of),
    ],
)
def test_every_key_of_other_documents_is_described(verb: str, code: object) -> None:
    found = keys_of(code)
    assert len(found) > 10
    assert [key for key in found if f"`{key}`" not in section(f"`socklb {verb} --json`")] == []


def test_every_hook_verdict_and_reason_of_monitor_is_described() -> None:
    text = section("`socklb monitor --json`")
    assert [name for name in (*HOOKS, *VERDICTS, *TEXTS) if f"`{name}`" not in text] == []


def test_every_row_of_check_is_described() -> None:
    rows = set(re.findall(r'\b[Rr]esult\(\s*"([\w ]+)"', inspect.getsource(checks)))
    assert {"hooks", "DNS"} <= rows
    assert [name for name in rows if f"`{name}`" not in section("`socklb check`")] == []
