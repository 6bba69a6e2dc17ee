"""Where commands run: a host of the inventory, or something inside it that a command there enters, such as a pod.

    place = machine("w1", host)
    place.output("ip", "route")                    its output; an error if it fails
    place.run("curl", "-s", url).returncode        whatever the result is
    place.unhooked.run("curl", "-s", url)          in the same network, outside the node's cgroup: the control
    place.stream("tcpdump", "-l")                  continues to run; its output can be read meanwhile

Labs, tests and roles use this one class. How a host is reached depends on its connector: inventory/ways/.
"""

import shlex
import subprocess
from dataclasses import dataclass, replace

from inventory import reach
from inventory.hosts import AnyHost

LIMIT = 60.0  # seconds for one command
Text = subprocess.CompletedProcess[str]


class CommandError(Exception):
    """A command that had to succeed failed."""


@dataclass(frozen=True)
class Entry:
    """How to enter: a host, and the prefix for a command there."""

    host: AnyHost
    enter: tuple[str, ...] = ()
    hooked: bool = True  # whether commands run in the host's cgroup
    at_terminal: tuple[str, ...] = ()  # instead of `enter`, for a command on a terminal


@dataclass(frozen=True)
class Place:
    name: str
    entry: Entry
    outside: Entry | None = None  # into the same network, outside the node's cgroup

    def argv(self, *words: str, hooked: bool = True, terminal: bool = False) -> list[str]:
        """Return the local command line, for callers that start it themselves."""
        entry = self.entry if hooked else self._outside()
        enter = (entry.at_terminal or entry.enter) if terminal else entry.enter
        return reach.argv(entry.host, *enter, *words, hooked=entry.hooked, terminal=terminal)

    def run(self, *words: str, hooked: bool = True, given: str = "", timeout: float = LIMIT) -> Text:
        """Run a command with `given` as its standard input. The caller checks its exit status.

        Raises:
            TimeoutExpired: it took longer than `timeout`, in seconds.
        """
        argv = self.argv(*words, hooked=hooked)
        return subprocess.run(
            argv, input=given, text=True, errors="replace", capture_output=True, timeout=timeout, check=False
        )

    def output(self, *words: str, hooked: bool = True, given: str = "", timeout: float = LIMIT) -> str:
        """Return the output of a command, without the last newline.

        Raises:
            CommandError: it failed.
        """
        done = self.run(*words, hooked=hooked, given=given, timeout=timeout)
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise CommandError(f"{self.name}: exit code {done.returncode} from {shlex.join(words)}: {said}")
        return done.stdout.rstrip("\n")

    def stream(self, *words: str, hooked: bool = True) -> "subprocess.Popen[str]":
        """Start a command whose output is read while it runs. It ends with the caller's `with`, or by its kill()."""
        return subprocess.Popen(self.argv(*words, hooked=hooked), stdout=subprocess.PIPE, text=True)

    @property
    def unhooked(self) -> "Place":
        return replace(self, entry=self._outside())

    def _outside(self) -> Entry:
        return self.outside or replace(self.entry, hooked=False)


def machine(name: str, host: AnyHost) -> Place:
    return Place(name, Entry(host))


def pod_by_hand(name: str, host: AnyHost) -> Place:
    """Return a pod that the command `pod` made on this host, where no kubelet runs."""
    enter = ("pod", "exec", name)
    return Place(name, Entry(host, (*enter, "--")), Entry(host, (*enter, "--unhooked", "--"), hooked=False))
