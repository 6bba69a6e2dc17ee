"""Where a lab's commands run, and how this machine gets there: nodes and pods of the inventory, by their short names.

    place.argv("curl", "-s", url)                  the local command line that runs curl there
    place.argv("curl", "-s", url, hooked=False)    ... in the same network, outside the hook's cgroup: the control
    place.typed(...)                               the same as a reader types it: lab exec client -- curl -s ...

Every way to a node is the inventory's (`inventory.reach`); into a pod it is `pod exec` on its node, the same tool on
every kind of inventory. Nothing here knows a connector.
"""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inventory import reach
from inventory.hosts import AnyHost

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 10.0  # seconds; nothing that a lab asks for takes longer
TOO_SLOW = 124


@dataclass(frozen=True)
class Output:
    typed: str
    exit: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    name: str
    host: AnyHost
    pod: bool = False

    def argv(self, *command: str, hooked: bool = True) -> list[str]:
        outside = [] if hooked else ["--unhooked"]
        entered = ["pod", "exec", self.name, *outside, "--", *command] if self.pod else list(command)
        return reach.argv(self.host, *entered, hooked=hooked)

    def typed(self, *command: str, hooked: bool = True, stdin: Path | None = None) -> str:
        outside = [] if hooked else ["--unhooked"]
        line = shlex.join(["lab", "exec", self.name, *outside, "--", *command])
        return f"{line} < {stdin.relative_to(ROOT)}" if stdin else line

    def run(self, *command: str, hooked: bool = True, stdin: Path | None = None) -> Output:
        """Run a command there; its exit status is the caller's to judge; TOO_SLOW if it did not end."""
        typed = self.typed(*command, hooked=hooked, stdin=stdin)
        try:
            done = subprocess.run(
                self.argv(*command, hooked=hooked),
                input=stdin.read_text() if stdin else "",
                capture_output=True, text=True, errors="replace", timeout=LIMIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Output(typed, TOO_SLOW, "", f"this did not end within {LIMIT} s")
        return Output(typed, done.returncode, done.stdout, done.stderr)
