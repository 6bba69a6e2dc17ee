"""Run a command as if it were typed here, and store its output: for `lab exec` and `lab shell` while a step is open.

On a terminal the command has one too: line editing and colours work as usual. Elsewhere output and errors are passed on
separately, byte by byte. The output is stored; nothing that the reader types is.
"""

import fcntl
import os
import pty
import re
import selectors
import shlex
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence

from labs.engine.places import Output

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])|\x07")
# A shell marks where the output of a command begins and ends, in the way of terminals (OSC 133).
_BEGINS, _ENDS = r"\x1b]133;C\x07", r"\x1b]133;D;(\d+);([^\x07]*)\x07"
_COMMAND = re.compile(f"{_BEGINS}(.*?){_ENDS}", re.DOTALL)
_PROMPT_COMMAND = r"""printf '\033]133;D;%s;%s\007' "$?" "$(HISTTIMEFORMAT= history 1 | sed 's/^ *[0-9]* *//')" """

# If the terminal's session began outside of the place's pid namespace (its id is 0 then), a shell there has
# no job control: it gets a session of its own, with the same terminal.
_IN_A_SESSION = """\
read -r _ _ _ _ _ session _ </proc/self/stat
[ "$session" = 0 ] || exec "$@"
exec setsid --ctty --wait "$@"
"""


def run(argv: Sequence[str]) -> tuple[int, str, str]:
    """Run it and return its exit status, output and errors; on a terminal both are the output."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        said: list[bytes] = []
        return at_terminal(argv, said.append), plain(b"".join(said)), ""
    return _piped(argv)


def at_terminal(argv: Sequence[str], hear: Callable[[bytes], None]) -> int:
    """Run it on a terminal of its own and pass on its output as it comes."""
    size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    sized = False

    def heard(file: int) -> bytes:
        nonlocal sized
        if not sized:
            fcntl.ioctl(file, termios.TIOCSWINSZ, size)
            sized = True
        data = os.read(file, 4096)
        hear(data)
        return data

    return os.waitstatus_to_exitcode(pty.spawn(list(argv), heard))


def shell_words(name: str) -> list[str]:
    """Return the command of a shell that marks where each command begins and ends."""
    prompt = f"PS1=\\[\\e[1m\\]{name}\\[\\e[0m\\]$ "
    settings = [prompt, r"PS0=\e]133;C\a", f"PROMPT_COMMAND={_PROMPT_COMMAND}", "HISTFILE=/dev/null"]
    return ["sh", "-c", _IN_A_SESSION, "sh", "env", *settings, "bash", "--norc", "-i"]


class Listener:
    """Reads the output of a shell and reports each command with its output."""

    def __init__(self, place: str, tell: Callable[[Output], None], *, hooked: bool) -> None:
        self._place, self._tell, self._hooked = place, tell, hooked
        self._heard = ""

    def hear(self, data: bytes) -> None:
        self._heard += data.decode(errors="replace")
        for found in _COMMAND.finditer(self._heard):
            self._tell(
                Output(
                    found[3], int(found[2]), plain(found[1].encode()), "", self._place, words(found[3]), self._hooked
                )
            )
            self._heard = self._heard[found.end() :]


def words(line: str) -> tuple[str, ...]:
    """Return the words of a command line as a shell would split it, approximately if it is not a simple command."""
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return tuple(line.split())


def plain(said: bytes) -> str:
    """Return a terminal's output as text, without control sequences."""
    return _ESCAPES.sub("", said.decode(errors="replace")).replace("\r\n", "\n")


def _piped(argv: Sequence[str]) -> tuple[int, str, str]:
    said: dict[int, list[bytes]] = {1: [], 2: []}
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        selectors.DefaultSelector() as pipes,
    ):
        for file, to in (process.stdout, 1), (process.stderr, 2):
            assert file
            pipes.register(file, selectors.EVENT_READ, to)
        while pipes.get_map():
            for key, _ in pipes.select():
                data = os.read(key.fd, 65536)
                if not data:
                    pipes.unregister(key.fileobj)
                    continue
                said[key.data].append(data)
                os.write(key.data, data)
        status = process.wait()
    out, err = (b"".join(said[to]).decode(errors="replace") for to in (1, 2))
    return status, out, err
