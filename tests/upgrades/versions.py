"""The agent of another version: its source from git's history, its eBPF objects compiled once on a machine.

    unpacked(version.commit)    # a folder in which `python -m socklb` is that version

Each tag `v…` is a version. 0.1.0 was only a number in the source, under which the tables had three schemas and packets
were served by nftables first: commits stand for these. So does one for 0.2.0, which has no tag.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "socklb" / "versions"


class Version(NamedTuple):
    """A version, and what is not expected of it.

    Attributes:
        name: as pytest prints it.
        commit: its source.
        serves_packets: it has a packet path.
        knows_others: started in another version's place, it ends that version's hooks and leaves the names of its
            sockets.
        keeps_flows: so started, it goes on to serve what the packet path had translated.
    """

    name: str
    commit: str
    serves_packets: bool = True
    knows_others: bool = True
    keeps_flows: bool = True


UNTAGGED = [
    Version("0.1.0, schema 1", "bd30f5c25bb155fc6e9438adaa49643b6443a16f", serves_packets=False, knows_others=False),
    Version("0.1.0, early schema 2", "f46586a60afc2683fcd5ea70e42da5f697936a5a", knows_others=False),
    Version("0.1.0, late schema 2", "62bab14fc859fd65c2f332fc5f690eef9a4e5ae7"),
    Version("0.1.0, early schema 3", "18f5eb4c652369fad533b37ab9b7c932a4c6bbbd", keeps_flows=False),
    Version("0.1.0, late schema 3", "b3ae21d9ecb4270412871bca01058c8c19621c09"),
    Version("0.2.0", "fc602a3227f125f9c1cbc443c7a13b24041cca0c"),
]


def git(*words: str) -> bytes:
    # The owner of a checkout is seldom root, who runs these tests.
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


def known(commit: str) -> bool:
    """Return whether this copy has the commit: an archive has no history, and a shallow clone not all of it."""
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}")
    except (FileNotFoundError, subprocess.CalledProcessError):  # there is no git, or no such commit
        return False
    return True


def versions() -> list[Version]:
    """Return the versions, oldest first."""
    try:
        tags = git("tag", "--list", "--sort=version:refname", "v*").decode().split()
    except (FileNotFoundError, subprocess.CalledProcessError):
        tags = []
    return [*UNTAGGED, *(Version(tag, git("rev-list", "-1", tag).decode().strip()) for tag in tags)]


def unpacked(commit: str) -> Path:
    """Return a folder with the agent of this commit, ready to be started."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / commit
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            with tarfile.open(fileobj=BytesIO(git("archive", commit, "socklb", "bpf", "pyproject.toml"))) as archive:
                archive.extractall(folder, filter="data")
            subprocess.run(["make", "-s", "-C", folder / "bpf"], check=True)
            (folder / "complete").touch()
    return folder
