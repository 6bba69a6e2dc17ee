"""What a shell and a command say is heard as it was said."""

import subprocess
import sys

import pytest

from labs.engine import terminal
from labs.engine.places import ROOT, Output
from labs.engine.terminal import Listener


def heard(*chunks: bytes) -> list[Output]:
    told: list[Output] = []
    listener = Listener("w1", told.append, hooked=False)
    for chunk in chunks:
        listener.hear(chunk)
    return told


SESSION = (
    b"w1$ curl -s web\r\n\x1b]133;C\x07web-2\r\n\x1b]133;D;0;curl -s web\x07w1$ \r\n\x1b]133;D;0;curl -s web\x07w1$ "
    b"ls 'no such'\r\n\x1b]133;C\x07\x1b[31mno such file\x1b[0m\r\n\x1b]133;D;2;ls 'no such'\x07w1$ "
)


def test_each_command_of_a_shell_is_told_with_its_status_and_without_colour() -> None:
    first, second = heard(SESSION)
    assert first == Output("curl -s web", 0, "web-2\n", "", "w1", ("curl", "-s", "web"), hooked=False)
    assert (second.words, second.exit, second.out) == (("ls", "no such"), 2, "no such file\n")


def test_it_does_not_matter_how_the_bytes_arrive() -> None:
    assert heard(*(SESSION[at : at + 1] for at in range(len(SESSION)))) == heard(SESSION)


def test_an_empty_line_is_no_command() -> None:
    assert len(heard(SESSION)) == 2, "the prompt came three times"


def test_a_line_that_no_shell_would_take_is_split_at_its_spaces() -> None:
    assert terminal.words("echo 'open") == ("echo", "'open")


@pytest.mark.parametrize("size", [1, 200_000])
def test_output_and_errors_pass_apart_and_are_kept(size: int) -> None:
    script = f"head -c {size} /dev/zero | tr '\\0' x; echo oops >&2; exit 7"
    code = f"from labs.engine.terminal import run; s, o, e = run(['sh', '-c', {script!r}]); print(s, len(o), repr(e))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "oops\n"
    assert done.stdout == "x" * size + f"7 {size} 'oops\\n'\n"
