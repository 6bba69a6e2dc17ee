"""The reader's position survives in files, which somebody may have changed."""

from pathlib import Path

import pytest

from labs.engine import progress, stage
from labs.engine.cli import main
from labs.engine.errors import LabError
from labs.engine.places import Output
from labs.engine.progress import Open


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress, "ROOT", tmp_path)
    progress.state_folder().mkdir(parents=True)
    return progress.state_folder()


def test_the_open_step_and_what_was_typed_come_back(folder: Path) -> None:
    progress.write_open(Open("01-socket-lb", "ask", 2))
    typed = Output("lab exec client -- curl", 0, "web-2\n", "", "client", ("curl",), hooked=False)
    progress.note(typed)
    assert progress.read_open() == Open("01-socket-lb", "ask", 2)
    assert progress.typed() == [typed]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"lab": 1, "step": "a", "hints": 0}', b"\xff", b"[" * 100_000, b"9" * 5000]
)
def test_an_open_step_that_is_none_is_told_with_the_next_command(folder: Path, text: bytes) -> None:
    (folder / "open.json").write_bytes(text)
    with pytest.raises(LabError, match=r"open.json cannot be read: .*\. Next: rm .*open.json"):
        progress.read_open()


@pytest.mark.parametrize("text", [b"{", b"[]\n", b'{"typed": 7}\n', b"\xff\n", b"\n", b"[" * 100_000])
def test_typed_words_that_are_none_are_told_with_the_next_command(folder: Path, text: bytes) -> None:
    (folder / "typed.jsonl").write_bytes(text)
    with pytest.raises(LabError, match=r"typed.jsonl cannot be read: .*\. Next: rm .*typed.jsonl"):
        progress.typed()


def test_a_mark_of_any_bytes_is_no_lab(folder: Path) -> None:
    (folder / "running").write_bytes(b"\xff")
    (folder / "deploy").write_bytes(b"\xff")
    assert progress.cut_off() == stage.deployed() == "\ufffd"


def test_a_step_that_the_lab_does_not_have_any_more_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress.write_open(Open("01-socket-lb", "of-an-older-version"))
    assert main(["hint"]) == 2
    assert "01-socket-lb has no step 'of-an-older-version'. Next: lab start 01" in capsys.readouterr().err
