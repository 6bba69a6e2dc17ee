"""What tcpdump saw at one interface of one pod or node, recorded so that a claim can be based on it.

    with recording(command, Path("client.pcap")) as report: ...act...
    Capture(place="client", interface="eth0", filter="tcp", ..., packets=read(path), names={})

The options have measured reasons: without `--immediate-mode` a short exchange is not in the file at all (60 of 60
runs), without waiting for "listening on" the SYN is lost (8 of 20), and -U only flushes tcpdump's own buffer. With
`--immediate-mode` each packet takes as much of the kernel's buffer as the longest one may: with the usual 64 KB in 2
MB, about thirty fit while tcpdump waits for a busy core, with 4 KB in 8 MB about two thousand.

The packets come over the command's standard output, so nothing is written where the capture runs. The remote tcpdump
ends when its standard input does, so even if this process is killed, nothing is left behind.
"""

import os
import re
import select
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from labs.engine.conversation import Conversation, conversations
from labs.engine.errors import BrokenCaptureError
from labs.engine.ladder import FOLD, Names
from labs.engine.packet import Packet, decode
from labs.engine.pcap import open_capture
from socklb.errors import short

SETTLE = 0.1  # seconds between the last packet and the end; 50 ms lost nothing in 20 of 20 runs
START_LIMIT = 10.0
STOP_LIMIT = 5.0
ROOM = ("-s", "4096", "-B", "8192")  # bytes of each packet, KiB of the buffer


@dataclass(frozen=True)
class Look:
    """One capture of a step: where, and what."""

    name: str
    place: str  # the pod or node
    interface: str
    filter: str
    fold: int = FOLD  # how many packets are shown; 0: none


@dataclass(frozen=True)
class Capture:
    place: str  # the pod or node
    interface: str
    filter: str
    file: str
    command: str  # what a reader types to see the same
    dropped: int
    packets: tuple[Packet, ...]
    names: Names = field(default_factory=dict[str, str])
    growing: bool = False  # it is still running

    @property
    def broken(self) -> str:
        """Return why this capture proves nothing; empty if it is sound."""
        return f"the kernel dropped {self.dropped} packets of the capture at {self.where}" if self.dropped else ""

    @property
    def where(self) -> str:
        return f"{self.place} {self.interface} '{self.filter}'"

    @property
    def conversations(self) -> list[Conversation]:
        """Return each exchange between two endpoints, in the order in which they began."""
        return conversations(self.packets)


def tcpdump(interface: str, expression: str) -> list[str]:
    return ["tcpdump", "-i", interface, "--immediate-mode", *ROOM, "-U", "-n", "-w", "-", expression]


# Runs "$@" until standard input ends, or until it ends by itself. TERM and not INT: a shell without job control starts
# background commands with INT ignored. The waiting part keeps no output open, so an early end is noticed at once.
_UNTIL_STDIN_ENDS = """
exec 3<&0
"$@" & command=$!
{ read -r _ <&3; kill -TERM $command; } >/dev/null 2>&1 & waiting=$!
wait $command
kill $waiting 2>/dev/null
"""


def until_stdin_ends(command: Sequence[str]) -> list[str]:
    """Return the command, wrapped so that it is ended (and waited for) when standard input ends."""
    return ["sh", "-c", _UNTIL_STDIN_ENDS, "sh", *command]


def read(file: Path, *, growing: bool = False) -> tuple[Packet, ...]:
    """Return the packets of a capture.

    Raises:
        BrokenCaptureError: it cannot be read.
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BrokenCaptureError(f"the capture {short(file.name)} cannot be read: {why}") from None
    capture = open_capture(data, growing=growing)
    packets = (decode(time, frame, capture.link) for time, frame in capture.frames())
    return tuple(packet for packet in packets if packet is not None)


class Report:
    """tcpdump's messages at its end; filled when the recording is over."""

    dropped: int = 0


@contextmanager
def recording(command: Sequence[str], file: Path) -> Generator[Report]:
    """Record within the block. `command` runs here and reaches `until_stdin_ends(tcpdump(...))` at the place."""
    report = Report()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as packets:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=packets, stderr=subprocess.PIPE)
    try:
        _wait_until_listening(process)
        yield report
        time.sleep(SETTLE)
        report.dropped = _dropped(_stop(process))
    finally:
        _abandon(process)


def _wait_until_listening(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    said, deadline = b"", time.monotonic() + START_LIMIT
    while b"listening on" not in said:
        left = deadline - time.monotonic()
        readable, _, _ = select.select([process.stderr], [], [], max(left, 0))
        more = os.read(process.stderr.fileno(), 4096) if readable else b""
        said += more
        if not more:
            why = said.decode(errors="replace").strip() or f"tcpdump said nothing for {START_LIMIT:.0f} s"
            raise BrokenCaptureError(f"the capture did not start: {why}")


def _stop(process: subprocess.Popen[bytes]) -> str:
    try:
        _, said = process.communicate(timeout=STOP_LIMIT)  # closes standard input first
    except subprocess.TimeoutExpired:
        raise BrokenCaptureError(f"tcpdump did not end within {STOP_LIMIT:.0f} s of being told to") from None
    return said.decode(errors="replace")


def _dropped(said: str) -> int:
    count = re.search(r"(\d+) packets? dropped by kernel", said)
    if not count:
        raise BrokenCaptureError(
            f"tcpdump ended without its counts, so packets may be missing: {said.strip() or 'no words at all'}"
        )
    return int(count[1])


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """After any failure in the block: close standard input, so that the remote side ends, and wait for it."""
    for pipe in (process.stdin, process.stderr):
        if pipe and not pipe.closed:
            pipe.close()
    try:
        process.wait(timeout=STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
