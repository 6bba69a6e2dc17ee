"""The reader's position: the open lab and step, and what was typed since that step was opened.

    opened = read_open()                    Open("01-socket-lb", "what-is-deployed", hints=0), or None
    write_open(opened)                      forgets what was typed before
    note(output)                            `lab exec` and `lab shell` store what they ran, while a step is open
    typed()                                 that again, for the evidence of the step

All of it is in files below `.lab/<inventory>/`, so that it survives Ctrl-C, the end of the terminal and a reboot. `lab
exec` imports this module, so it must import little.
"""

import dataclasses
import fcntl
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inventory import hosts
from labs.engine.errors import CannotRunError, LabError
from labs.engine.places import ROOT, Output
from socklb.errors import one_line

KEPT = 100_000  # characters of one command's output


@dataclass(frozen=True)
class Open:
    """The step that the reader is at."""

    lab: str
    step: str  # its key
    hints: int = 0  # how many were shown


def state_folder() -> Path:
    return ROOT / ".lab" / hosts.path().stem


def read_open() -> Open | None:
    try:
        found = json.loads(_open_file().read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise _unreadable(_open_file(), "it is no JSON") from None
    match found:
        case {"lab": str(lab), "step": str(step), "hints": int(hints)}:
            return Open(lab, step, hints)
        case _:
            raise _unreadable(_open_file(), "it names no lab and step")


def must_be_open() -> Open:
    """Return the open step.

    Raises:
        LabError: no lab is open.
    """
    found = read_open()
    if found is None:
        raise LabError("no lab is open. Next: lab start 01 (lab list has the others)")
    return found


def write_open(opened: Open) -> None:
    """Open a step: what was typed before does not count for it."""
    state_folder().mkdir(parents=True, exist_ok=True)
    _typed_file().unlink(missing_ok=True)
    _write(opened)


def count_hint(opened: Open) -> None:
    _write(dataclasses.replace(opened, hints=opened.hints + 1))


def close() -> None:
    _open_file().unlink(missing_ok=True)
    _typed_file().unlink(missing_ok=True)


def run_begins(lab: str) -> None:
    """Record that a lab is being run from beginning to end."""
    state_folder().mkdir(parents=True, exist_ok=True)
    _running_file().write_text(lab)


def cut_off() -> str:
    """Return the lab whose run was not completed, for example because it was killed; empty if there is none."""
    return _running_file().read_text(errors="replace") if _running_file().exists() else ""


def is_undone(lab: str) -> None:
    """Forget it, once the cluster is as it was before this lab."""
    if cut_off() == lab:
        _running_file().unlink()


def note(output: Output) -> None:
    """Store the output of a command, if a step is open."""
    if read_open() is None:
        return
    kept = dataclasses.replace(output, out=output.out[:KEPT], err=output.err[:KEPT])
    with _typed_file().open("a") as file:
        file.write(json.dumps(dataclasses.asdict(kept)) + "\n")


def typed() -> list[Output]:
    import msgspec  # noqa: PLC0415 - `lab exec` needs none

    try:
        return [msgspec.json.decode(line, type=Output) for line in _typed_file().read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(_typed_file(), str(error)) from None


@contextmanager
def watching() -> Generator[None]:
    """Be the only watcher within the block.

    Raises:
        CannotRunError: there is another one.
    """
    state_folder().mkdir(parents=True, exist_ok=True)
    with _lock_file().open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRunError("`lab watch` runs already, in another terminal") from None
        yield


def is_watched() -> bool:
    try:
        with watching():
            return False
    except CannotRunError:
        return True


def _unreadable(file: Path, why: str) -> LabError:
    return LabError(f"{file} cannot be read: {one_line(why)}. Next: rm {file}")


def _write(opened: Open) -> None:
    fresh = _open_file().with_suffix(".new")
    fresh.write_text(json.dumps(dataclasses.asdict(opened)))
    fresh.replace(_open_file())


def _open_file() -> Path:
    return state_folder() / "open.json"


def _typed_file() -> Path:
    return state_folder() / "typed.jsonl"


def _running_file() -> Path:
    return state_folder() / "running"


def _lock_file() -> Path:
    return state_folder() / "watch.lock"
