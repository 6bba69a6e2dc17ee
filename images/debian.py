"""Debian packages as files: which ones make a root file system, where they are, and what is in them.

    python -m images.debian        resolves images/agent/packages.txt anew, into packages.lock beside it

apt resolves and fetches, without root and with folders of its own, for any architecture. Nothing is configured: the
packages' scripts never run, so what those would make is missing (`images/agent_image.py` makes what the agent needs).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

FOLDER = Path(__file__).parent / "agent"
LOCK = FOLDER / "packages.lock"
ARCHITECTURES = ("amd64", "arm64")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = {
    "http://deb.debian.org/debian": ("bookworm", "bookworm-updates"),
    "http://deb.debian.org/debian-security": ("bookworm-security",),
}
APT_HELPER = "/usr/lib/apt/apt-helper"
GLOBAL_MAGIC, HEADER = b"!<arch>\n", 60  # ar(5)


class PackageError(Exception):
    """A package cannot be resolved or fetched."""


@dataclass(frozen=True, order=True)
class Package:
    """One package of one architecture's root, as the lock names it; its own architecture may be `all`."""

    architecture: str
    url: str
    sha256: str

    @property
    def file(self) -> str:
        """Return the name apt gives it: an epoch is in the lock and in no URL, so two of one name differ in bytes."""
        return unquote(PurePosixPath(self.url).name)


def main() -> None:
    """Write the lock."""
    found = [package for architecture in ARCHITECTURES for package in resolve(wanted(), architecture)]
    lines = [f"{package.architecture} {package.sha256} {package.url}\n" for package in sorted(found)]
    LOCK.write_text("# Made by `python -m images.debian` from packages.txt.\n" + "".join(lines))
    print(f"{len(found)} packages in {LOCK.relative_to(Path.cwd())}")


def wanted() -> list[str]:
    """Return what packages.txt lists."""
    return re.sub(r"#.*", "", (FOLDER / "packages.txt").read_text()).split()


def locked(architecture: str) -> list[Package]:
    """Return what the lock has for an architecture."""
    lines = (line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    return [Package(name, url, digest) for name, digest, url in lines if name == architecture]


def resolve(names: Iterable[str], architecture: str) -> list[Package]:
    """Return the packages that these need, and these, in the versions that Debian has now."""
    with tempfile.TemporaryDirectory() as folder:
        options = _apt_of_its_own(Path(folder), architecture)
        _run("apt-get", *options, "-q", "update")
        said = _run("apt-get", *options, "-qq", "--no-install-recommends", "--print-uris", "install", *names)
    found = [re.fullmatch(r"'(\S+)' \S+ \d+ SHA256:([0-9a-f]{64})", line) for line in said.splitlines()]
    return sorted(Package(architecture, match[1], match[2]) for match in found if match)


def fetch(packages: Sequence[Package], folder: Path) -> list[Path]:
    """Return their files, which are in the folder already or come from the mirror.

    Raises:
        PackageError: the mirror has one of them no longer, or cannot be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        missing = [package for package in packages if not _is_there(folder / package.file, package)]
        if missing:
            words = [(each.url, f"{scratch}/{each.sha256}", f"SHA256:{each.sha256}") for each in missing]
            sandbox = ("-o", "APT::Sandbox::User=root")
            _run(APT_HELPER, *sandbox, "download-file", *(word for triple in words for word in triple))
        for package in missing:
            Path(scratch, package.sha256).rename(folder / package.file)
    return [folder / package.file for package in packages]


def content(deb: Path) -> tarfile.TarFile:
    """Return what the package puts into a root."""
    return _part(deb, "data.tar")


def control(deb: Path) -> str:
    """Return what the package says of itself."""
    with _part(deb, "control.tar") as tar:
        file = tar.extractfile("./control")
        assert file is not None
        return file.read().decode()


def _part(deb: Path, wanted: str) -> tarfile.TarFile:
    for name, data in _members(deb.read_bytes()):
        if name.startswith(wanted):
            return tarfile.open(fileobj=io.BytesIO(data))
    raise PackageError(f"{deb}: no {wanted} in it")


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    at = len(GLOBAL_MAGIC)
    while at < len(archive):
        header = archive[at : at + HEADER]
        size = int(header[48:58])
        at += HEADER
        yield header[:16].decode().strip(" /"), archive[at : at + size]
        at += size + size % 2


def _apt_of_its_own(folder: Path, architecture: str) -> list[str]:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    lines = [f"deb [signed-by={KEYRING}] {url} {suite} main\n" for url, suites in SUITES.items() for suite in suites]
    (folder / "sources.list").write_text("".join(lines))
    settings = {
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _is_there(file: Path, package: Package) -> bool:
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == package.sha256


def _run(*words: str) -> str:
    try:
        environment = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise PackageError(f"no {words[0]} on this machine; Debian and Ubuntu have it, in the package apt") from error
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if line.startswith("E:"))
        raise PackageError(f"{words[0]} failed:\n{said or done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except PackageError as error:
        sys.exit(f"images/debian.py: {error}")
