"""The bundles of the agent that were built: each runs on one minor version of Python, because of its compiled packages.

setup/build-agent.sh makes build/agent.tar for the Python of .venv, and, for example, build/agent-3.13.tar for nodes
with Python 3.13.
"""

import re
import tarfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

BUILD = Path(__file__).parents[2] / "build"
LAUNCHER = re.compile(r'for python in "(?P<interpreter>[^"]+)" python(?P<version>3\.\d+) ')


class Bundle(NamedTuple):
    tar: Path
    interpreter: str  # the interpreter that it tries first
    version: str


@cache
def bundles(folder: Path = BUILD) -> tuple[Bundle, ...]:
    """Return the existing bundles, the one for this machine's own Python first."""
    tars = [folder / "agent.tar", *sorted(folder.glob("agent-3.*.tar"))]
    return tuple(bundle(tar) for tar in tars if tar.is_file())


def bundle(tar: Path) -> Bundle:
    """Read from its launcher which Python a bundle is for.

    Raises:
        ValueError: there is none: it is another kind of file.
    """
    with tarfile.open(tar) as opened:
        launcher = opened.extractfile("bin/socklb")
        found = LAUNCHER.search(launcher.read().decode()) if launcher else None
    if not found:
        raise ValueError(f"{tar} is no bundle of the agent. Next: make build")
    return Bundle(tar, found["interpreter"], found["version"])


def available() -> list[str]:
    """Return the versions of Python for which there is a bundle."""
    return sorted({bundle.version for bundle in bundles()})
