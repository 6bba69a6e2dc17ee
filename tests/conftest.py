"""In CI a skipped test is a failed test: a machine that cannot run the suite must not pass as if it had.

Set CI to anything to get that. `@pytest.mark.skip_in_ci_ok("reason")` lets a test, or a module by its
`pytestmark`, skip there too. Expected failures (xfail) are no skips and stay what they are.
"""

import os
from collections.abc import Generator

import pytest

os.environ["LC_ALL"] = "C.UTF-8"  # labs are told in the language of the locale: here the one that tests expect
ADVICE = "CI is set, where a skipped test fails. Let it run there, or mark it skip_in_ci_ok(reason)."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail") and not item.get_closest_marker("skip_in_ci_ok"):
        fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself while it is imported (pytest.importorskip, pytest.skip) reports here."""
    report = yield
    fail_if_skipped(report)
    return report


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{report.longreprtext}\n{ADVICE}"
