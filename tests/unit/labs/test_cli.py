"""The command line: usage, exit codes and output without a terminal."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from labs.engine.claims import Claim, Verdict
from labs.engine.cli import VERBS, main
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
    ],
)
def test_what_does_not_exist_exits_with_two_and_says_what_does(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert why in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding the cluster needs a mount namespace, and that needs root")
def test_no_cluster_exits_with_three_and_names_the_next_command() -> None:
    """Where /run is empty there is no local cluster, whatever this machine has."""
    before = recorded()
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh"]
    lab = [sys.executable, "-c", "import sys; from labs.engine.cli import main; sys.exit(main())", "run", "01"]
    done = subprocess.run([*hidden, *lab], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Next: pyinfra inventory deploys/cluster.py" in done.stderr
    assert recorded() == before, "what an earlier run recorded must stay"


def recorded() -> str | None:
    state = ROOT / ".lab" / "01-socket-lb" / "state.json"
    return state.read_text() if state.exists() else None


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
