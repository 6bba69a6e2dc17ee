"""A file is never there with another mode than it is to have, however short."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api.command import FileUploadCommand

from roles import operations

UMASK = "umask 022; "


def carry_out(command: Any) -> None:
    """As a connector does it: a shell for each command, an upload by `cat`."""
    if isinstance(command, FileUploadCommand):
        subprocess.run(
            ["sh", "-c", f'{UMASK} cat >"$1"', "sh", command.dest], input=command.src.getvalue(), text=True, check=True
        )
    else:
        subprocess.run(["sh", "-c", UMASK + str(command)], check=True)


@pytest.mark.parametrize("before", [None, 0o644], ids=["a new file", "remains of a run that was cut off"])
@pytest.mark.parametrize("mode", ["600", "644", "755"])
def test_every_moment_it_has_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, before: int | None
) -> None:
    monkeypatch.setattr(operations, "host", SimpleNamespace(get_fact=lambda *_, **__: {}))
    target = tmp_path / "etc" / "a 'secret'"
    if before:
        target.parent.mkdir()
        (target.parent / f".{target.name}.new").touch(before)
    modes: set[str] = set()
    for command in operations.write_files({str(target): "token\n"}, mode):
        carry_out(command)
        modes |= {f"{path.stat().st_mode & 0o777:o}" for path in target.parent.iterdir()}
    assert modes == {mode}
    assert [path.read_text() for path in target.parent.iterdir()] == ["token\n"]
