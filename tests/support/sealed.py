"""The docker that the machines of tests live in, and the network namespace from which alone they are reached.

It has the name socklb-machines, or SOCKLB_DOCKER; images/sealed-docker.sh starts and ends it.
"""

import contextlib
import ctypes as ct
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = os.environ.get("SOCKLB_DOCKER", "socklb-machines")
RUN = Path("/run") / NAME
NETNS = Path("/run/netns") / NAME
CLONE_NEWNET = 0x40000000
LIMIT = 60.0  # seconds for one command
HOME = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)  # process 1 may have more rights, and so hide its own
Text = subprocess.CompletedProcess[str]


class CommandError(Exception):
    """A command of the tests' own making failed."""


def run(*argv: str | Path, given: str = "", timeout: float = LIMIT, **environment: str) -> Text:
    """Run a command in the project's folder; a failure is the caller's to judge."""
    return subprocess.run(
        argv,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"DOCKER_HOST": f"unix://{RUN}/docker.sock", "SOCKLB_DOCKER": NAME} | environment,
        cwd=ROOT,
        check=False,
    )


def output(*argv: str | Path, given: str = "", timeout: float = LIMIT) -> str:
    """What a command that must succeed said."""
    done = run(*argv, given=given, timeout=timeout)
    if done.returncode:
        raise CommandError(f"exit code {done.returncode} from {shlex.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def docker(*words: str, timeout: float = LIMIT) -> str:
    return output("docker", *words, timeout=timeout)


def start() -> None:
    output(ROOT / "images" / "sealed-docker.sh", "start", timeout=120)


def stop() -> None:
    output(ROOT / "images" / "sealed-docker.sh", "stop", timeout=120)


def entered() -> contextlib.AbstractContextManager[None]:
    """This thread, and whatever process or thread it starts, is in the docker's network namespace meanwhile."""
    return _in_network(NETNS)


def at_home() -> contextlib.AbstractContextManager[None]:
    """The other way round: in the one that this process was started in."""
    return _in_network(Path(f"/proc/self/fd/{HOME}"))


@contextlib.contextmanager
def _in_network(place: Path) -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as before, place.open() as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(before.fileno())


def _setns(namespace: int) -> None:
    if ct.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ct.get_errno(), os.strerror(ct.get_errno()), f"setns {NAME}")


def remains() -> list[str]:
    """What of the docker and its machines can be seen on this machine."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    cgroups = run("find", "/sys/fs/cgroup", "-type", "d", "-name", NAME).stdout.split()
    processes = run("ps", "-eo", "args").stdout.splitlines()
    ours = [mount for mount in mounts if NAME in mount] + [line for line in processes if f"{RUN}/" in line]
    return sorted([str(place) for place in (RUN, NETNS) if place.exists()] + cgroups + ours)
