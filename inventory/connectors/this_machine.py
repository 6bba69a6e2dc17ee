"""What the local cluster uses of this machine: one folder, one lock, and a function to run commands.

Everything is on a tmpfs of our own at /run/socklb, even if /run is a tmpfs already: one unmount removes it all, and the
small size that distributions give /run does not limit the node roots.
"""

import fcntl
import os
import shlex
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

RUN = Path("/run/socklb")
NODES = RUN / "nodes"
NETNS = Path("/run/netns")  # where iproute2 keeps named network namespaces
MADE_NETNS = RUN / "made-run-netns"  # exists if /run/netns was not a mount before
GOES_WITHIN = 10.0  # seconds: mounts of a killed node go with its mount namespace, a moment after its last process


class NodeError(OSError):
    """A node could not be made, entered or removed.

    It is an OSError, because pyinfra reports those as the failure of one host and continues with the others.
    """


def run(*argv: str, given: str | None = None) -> str:
    """Run a command and return its output; an error shows the command in a form to paste, and its output."""
    done = subprocess.run(argv, input=given, text=True, capture_output=True, check=False)
    if done.returncode:
        shown = shlex.join(argv) + (f" <<'END'\n{given}END" if given else "")
        raise NodeError(f"exit code {done.returncode} from: {shown}\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextmanager
def lock() -> Generator[None]:
    """Allow one change to the local cluster at a time, among processes and among pyinfra's greenlets.

    A lock on the folder /run itself leaves no file behind and ends with its process. It is polled, because a blocking
    flock() would stop all greenlets of this process, including the one that holds the lock.
    """
    folder = os.open("/run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        yield
    finally:
        os.close(folder)


def is_mount(path: Path) -> bool:
    """Return whether a path is a mount. Path.is_mount() does not see a bind mount within one file system, such as
    iproute2's at /run/netns.
    """
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def prepare() -> None:
    """Make /run/socklb. It is made first and removed last: without it, nothing else of the cluster exists."""
    RUN.mkdir(exist_ok=True)
    if not is_mount(RUN):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "socklb", str(RUN))
    NODES.mkdir(exist_ok=True)
    if not is_mount(NETNS):
        MADE_NETNS.touch()


def clear() -> None:
    """Remove /run/socklb, and iproute2's mount at /run/netns if it was made for us and has nothing else in it."""
    if MADE_NETNS.exists() and NETNS.is_dir() and not any(NETNS.iterdir()):
        while is_mount(NETNS):
            run("umount", str(NETNS))
        NETNS.rmdir()
    end = time.monotonic() + GOES_WITHIN
    while is_mount(RUN):
        try:
            run("umount", str(RUN))
        except NodeError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.1)
    if RUN.exists():
        RUN.rmdir()
