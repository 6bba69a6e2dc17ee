"""Versions of Kubernetes: as its programs say them, `v1.34.4`, and as the inventory does, `1.34` or `1.34.4`."""

import json
import re
import tarfile
from functools import cache
from pathlib import Path

from pyinfra.api.exceptions import OperationError
from pyinfra.context import host

from roles.container_runtime.offline import offline


def numbers(version: str) -> tuple[int, ...]:
    """Return its numbers, without what a builder added: (1, 34, 4) for `v1.34.4-gke.1`."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def minor(version: str) -> tuple[int, ...]:
    return numbers(version)[:2]


def fits(version: str, wanted: str) -> bool:
    """Return whether it is the wanted one: `v1.34.4` is `1.34`, and is `1.34.4`."""
    return numbers(version)[: len(numbers(wanted))] == numbers(wanted)


def wanted() -> str:
    """Return the version that this host is to have: what its folder has, or what the inventory says."""
    folder = offline()
    return of_folder(folder) if folder else str(host.data.kubernetes_version)


@cache
def of_folder(folder: Path) -> str:
    """Return the version of a folder for machines without internet: the one in the name of kube-apiserver's image.

    Raises:
        OperationError: the archive of the control plane's images cannot be read, or that image is not in it.
    """
    archive = folder / "images" / "control-plane.tar"
    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            images: list[dict[str, list[str] | None]] = json.load(manifest) if manifest else []
    except (OSError, tarfile.TarError, KeyError) as error:
        raise OperationError(f"{archive}: {error}. Next: images/offline.sh, or another source") from None
    names = [name for image in images for name in image["RepoTags"] or []]
    found = [name.rpartition(":")[2] for name in names if "/kube-apiserver:" in name]
    if not found:
        raise OperationError(f"{archive} has no image kube-apiserver, only {', '.join(names)}. Next: images/offline.sh")
    return found[0]
