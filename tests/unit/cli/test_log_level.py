"""`log_level`: what of the agent's own and of its libraries' messages is logged."""

import subprocess
import sys

import pytest

LOGGING = """
import logging, sys
from socklb.cli.agent import log_from
log_from(sys.argv[1])
for name in ("socklb.api", "urllib3"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("%s-%s", name, level)
"""


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["info", "warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_that_of_our_own_messages_and_libraries_never_debug(
    level: str, ours: list[str], theirs: list[str]
) -> None:
    argv = [sys.executable, "-c", LOGGING, level]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stderr.split()
    assert [word for word in told if "-" in word and word.startswith(("socklb", "urllib3"))] == [
        *(f"socklb.api-{one}" for one in ours),
        *(f"urllib3-{one}" for one in theirs),
    ]
