"""The state of a machine over SSH before anything is changed."""

import shlex
import time
from pathlib import Path
from typing import TypedDict

from pyinfra.api.facts import FactBase

LOOK = Path(__file__).parent / "files" / "look.sh"


class Seen(TypedDict):
    """The output of look.sh, each key with all its values, and by how many seconds the machine's clock is ahead of
    ours.
    """

    said: dict[str, list[str]]
    ahead: float


class Machine(FactBase[Seen]):
    """Everything that preflight judges, read by one command."""

    def command(self) -> str:
        return f"sh -c {shlex.quote(LOOK.read_text())}"

    def process(self, output: list[str]) -> Seen:
        return seen(output, now=time.time())


def seen(output: list[str], now: float) -> Seen:
    said: dict[str, list[str]] = {}
    for line in output:
        key, _, value = line.partition("\t")
        if value:
            said.setdefault(key, []).append(value)
    return {"said": said, "ahead": float(said.get("time", [str(now)])[0]) - now}
