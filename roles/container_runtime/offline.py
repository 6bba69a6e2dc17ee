"""A folder for machines without internet: made by images/offline.sh, or in the same way by hand, with SHA256SUMS.

packages/SUITE/{Packages,*.deb}     for apt, by the distribution's code name
images/{node,control-plane}.tar     for containerd
programs/{kubelet,kubeadm,kubectl}
"""

import hashlib
import io
import os
from collections.abc import Generator
from functools import cache
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.operations import files, server

from inventory.machines.checks import SOURCES
from roles.facts import Newer, Suite, Text
from roles.machine.paths import STATE

TOOLS_IMAGE = "socklb/tools:1"
TOOLS = Path(__file__).parents[2] / "build" / "tools.tar"  # by images/tools.sh
PACKAGES = f"{STATE}/packages"
KNOWN = f"{STATE}/packages-known"  # when apt read them
LIST = "/etc/apt/sources.list.d/socklb.list"
# Only this source: others may be unreachable, which would take apt a minute, and would lose its data about them.
UPDATE = f"apt-get update -q -o Dir::Etc::sourcelist={LIST} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"


def offline() -> Path | None:
    """Return the folder from which this host gets everything, if there is one."""
    said = str(host.data.source)
    return None if said in SOURCES else Path(said).expanduser()


def folder_of_packages(folder: Path) -> None:
    suite = host.get_fact(Suite)
    verified(folder, f"packages/{suite}")
    files.sync(name="Packages", src=str(folder / "packages" / suite), dest=PACKAGES)
    files.put(name="Their folder as a source", src=io.StringIO(f"deb [trusted=yes] file:{PACKAGES} ./\n"), dest=LIST)
    # By their times, not by what this run changed: the previous run may have been interrupted in between.
    server.shell(
        name="apt knows them",
        commands=[f"{UPDATE} && touch {KNOWN}"],
        _if=lambda: any(host.get_fact(Newer, path=path, than=KNOWN) for path in (f"{PACKAGES}/Packages", LIST)),
    )


@operation()
def image_imported(tar: str, digest: str) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Import the images of an archive into containerd. The archive does not stay: a mark says that it was there."""
    name = Path(tar).name
    # A name for this run alone: a command of an interrupted run may still be running, and removes its file.
    mark, sent = _mark(name), f"{STATE}/{name}.{os.getpid()}"
    if host.get_fact(Text, path=mark).strip() == digest:
        host.noop(f"the images of {name} are there")
        return
    yield StringCommand(f"mkdir -p {STATE}/images && rm -f {STATE}/{name}.*")
    yield FileUploadCommand(tar, sent)
    yield StringCommand(f"ctr --namespace k8s.io images import {sent} >/dev/null && rm {sent} && echo {digest} >{mark}")


def _mark(archive: str) -> str:
    """Return the file that says which archive of this name a host has imported."""
    return f"{STATE}/images/{archive}"


def image_archive(folder: Path, name: str) -> None:
    (digest,) = verified(folder, f"images/{name}.tar").values()
    image_imported(name=f"Images: {name}", tar=str(folder / "images" / f"{name}.tar"), digest=digest)


def image_of_pods() -> None:
    """Bring this host the image that is in no registry, if it is to have that."""
    if host.data.tools_image == TOOLS_IMAGE and TOOLS.is_file():
        image_imported(name=f"Image {TOOLS_IMAGE}", tar=str(TOOLS), digest=_digest(TOOLS))


def missing_image() -> str:
    """Return the name of the image that this host does not have, and can get from nowhere; empty: there is none."""
    if offline() or host.data.tools_image != TOOLS_IMAGE or TOOLS.is_file():
        return ""
    return "" if host.get_fact(Text, path=_mark(TOOLS.name)) else TOOLS_IMAGE


@cache
def verified(folder: Path, below: str) -> dict[str, str]:
    """Return the digests of the files at this path or below it, after comparing them.

    Raises:
        OperationError: a file is missing, or differs from SHA256SUMS.
    """
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {path.lstrip("*"): digest for digest, path in (line.split(maxsplit=1) for line in lines)}
    found = {path: digest for path, digest in sums.items() if path == below or path.startswith(f"{below}/")}
    if not found:
        raise OperationError(
            f"{folder / below}: SHA256SUMS names no such file. Next: images/offline.sh, or another source"
        )
    for path, digest in found.items():
        if _digest(folder / path) != digest:
            raise OperationError(
                f"{folder / path} is not what SHA256SUMS says; nothing was sent. Next: copy the folder anew, then "
                f"cd {folder} && sha256sum --check SHA256SUMS"
            )
    return found


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise OperationError(f"{file}: {error.strerror}. Next: copy the folder anew") from None
