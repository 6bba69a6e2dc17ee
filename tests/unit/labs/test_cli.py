"""The command line: usage, exit codes and output without a terminal."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from inventory.connectors import netns_node, this_machine
from labs.engine.claims import Claim, Verdict
from labs.engine.cli import VERBS, main
from labs.engine.errors import LabError
from labs.engine.evidence import Evidence
from labs.engine.places import ROOT, Output
from labs.engine.screen import Screen


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert all(f"    {verb} " in said for verb in VERBS)


@pytest.mark.parametrize(
    "words",
    [["run"], ["fly"], [], ["run", "01", "--step", "one"]],
    ids=["no lab", "no such verb", "no verb", "no number"],
)
def test_a_wrong_command_line_exits_with_two(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["run", "99"], "no lab '99'; there is: 01-socket-lb"),
        (["run", "01", "--step", "99"], "has no step 99; its steps are 1 to 7"),
        (["check", "01", "0"], "has no step 0; its steps are 1 to 7"),
        (["exec", "client"], "no command; for example"),
        (["report", "--port", "8017"], "Next: lab report --live --port 8017"),
    ],
)
def test_what_does_not_exist_exits_with_two_and_says_what_does(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert why in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding the cluster needs a mount namespace, and that needs root")
def test_no_cluster_exits_with_three_and_names_the_next_command(tmp_path: Path) -> None:
    """Where /run is empty there is no local cluster, whatever this machine has; the records are this test's own."""
    state = tmp_path / "local" / "01-socket-lb" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    (ROOT / ".lab").mkdir(exist_ok=True)
    hide = 'mount -t tmpfs tmpfs /run && mount --bind "$1" "$2" && shift 2 && exec "$@"'
    hidden = ["unshare", "--mount", "sh", "-c", hide, "sh", tmp_path, ROOT / ".lab"]
    lab = [sys.executable, "-c", "import sys; from labs.engine.cli import main; sys.exit(main())", "run", "01"]
    done = subprocess.run([*hidden, *lab], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Next: pyinfra inventory deploys/cluster.py" in done.stderr
    assert state.read_text() == "{}", "what an earlier run recorded must stay"


def shown(*, terminal: bool, **environment: str) -> str:
    text = io.StringIO()
    screen = Screen(Console(file=text, width=80, force_terminal=terminal, highlight=False, _environ=environment))
    screen.heading("Step 1 of 7")
    screen.claims([Claim("[bold]must[/]", "x " * 60, Verdict.FALSE)])
    screen.command(Output("lab exec client -- true", 7, "line\n" * 20, ""))
    return text.getvalue()


def test_no_escape_sequence_reaches_what_is_no_terminal() -> None:
    assert "\x1b" not in shown(terminal=False, TERM="xterm-256color")


def test_a_terminal_gets_colour_unless_no_color_is_set() -> None:
    assert "\x1b[1;31m" in shown(terminal=True, TERM="xterm-256color")
    assert "31m" not in shown(terminal=True, TERM="xterm-256color", NO_COLOR="1")


def test_output_is_shown_as_it_is_folded_and_with_its_exit_status() -> None:
    said = shown(terminal=False)
    assert "✗ [bold]must[/]" in said
    assert "… 6 more lines" in said
    assert "(exit status 7)" in said
    assert max(len(line) for line in said.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["exec", "w1", "ls"],
            "lab exec: error: unrecognized arguments: ls; the command stands behind --, for example: ",
        ),
        (["exec", "client", "--unhoked", "--", "ls"], "lab exec: error: unrecognized arguments: --unhoked"),
        (["run", "01", "--jun", "x"], "lab run: error: unrecognized arguments: --jun"),
    ],
)
def test_wrong_words_are_told_with_the_usage_of_their_verb(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert f"usage: lab {words[0]} " in said
    assert told in said


@pytest.mark.parametrize("words", [["exec", "w1", "--", "true"], ["run", "01"], ["reset", "01"]], ids=" ".join)
def test_an_inventory_that_is_not_there_or_whose_cluster_is_not_is_one_message(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOCKLB_INVENTORY", "foo")
    assert main(words) == 2
    assert capsys.readouterr().err == "lab: SOCKLB_INVENTORY=foo: no such inventory in inventory/. Valid: kind, local\n"
    monkeypatch.setenv("SOCKLB_INVENTORY", "kind")
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/docker.sock")
    assert main(words) == 3
    told = capsys.readouterr().err
    assert told.startswith(("lab: the cluster of inventory/kind.py does not answer", "lab: there is no docker on PATH"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(words) == 3
    assert capsys.readouterr().err == "lab: there is no docker on PATH, by which socklb-control-plane is reached\n"


@pytest.mark.parametrize("words", [["exec", "w1", "--", "true"], ["exec", "client", "--", "true"], ["run", "01"]])
def test_whoever_is_not_root_is_told_so_and_not_to_build_what_is_there(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Locked(type(tmp_path)):
        def samefile(self, other_path: object) -> bool:
            raise PermissionError(13, "Permission denied", str(self))

    for node in ("cp", "w1", "w2"):
        (tmp_path / node).mkdir()
        (tmp_path / node / "pid").write_text("1\n")
    monkeypatch.setattr(this_machine, "NODES", tmp_path)
    monkeypatch.setattr(netns_node, "Path", Locked)
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert main(words) == 3
    assert "only root can enter it. Next: the same command as root" in capsys.readouterr().err


def test_a_report_that_has_no_folder_is_told_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "01", "--junit", str(tmp_path / "no" / "x.xml")]) == 2
    assert f"there is no folder {tmp_path / 'no'}. Next: mkdir -p {tmp_path / 'no'}" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_list_of_labs_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--lang", "en"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for mark in (" min ", " of "):
        assert len({line.index(mark) for line in lines[::2]}) == 1
    assert {len(line) - len(line.lstrip()) for line in lines[1::2]} == {lines[0].index("15 min")}


def test_a_reader_that_has_seen_enough_ends_nothing() -> None:
    code = "import sys; from labs.engine.cli import main; sys.exit(main(['list']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as lab:
        assert lab.stdout
        assert lab.stderr
        lab.stdout.close()
        assert lab.stderr.read() == b""
    assert lab.returncode == 0


def test_exec_imports_nothing_that_costs_much() -> None:
    """It is typed often: pyinfra alone would be 0.9 s of CPU."""
    code = "import sys; from labs.engine.cli import main; main(['exec', 'w1']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "labs.engine.verbs.exec" in done.stdout
    for costly in ("pyinfra", "rich", "msgspec", "socklb.cli", "socklb.config"):
        assert costly not in done.stdout.split()


def test_evidence_that_cannot_be_read_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(LabError, match=r"state\.json cannot be read: .* Next: rm "):
        Evidence(tmp_path)
