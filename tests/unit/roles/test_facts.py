"""roles/facts.py, by the shell that a machine has."""

import os
import subprocess
from pathlib import Path

import pytest

from roles.facts import Newer


def newer(path: Path, than: Path) -> bool:
    said = subprocess.run(
        ["dash", "-c", Newer().command(str(path), str(than))], capture_output=True, text=True, check=True
    )
    return Newer().process(said.stdout.splitlines())


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(2, 1, True), (1, 2, False), (1, 1, False), (1, None, True), (None, 1, False)]
)
def test_what_is_there_is_newer_than_what_is_older_or_away(
    tmp_path: Path, one: int | None, other: int | None, expected: bool
) -> None:
    for name, time in (("one", one), ("other", other)):
        if time is not None:
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (time, time))
    assert newer(tmp_path / "one", tmp_path / "other") is expected
