"""A root file system in memory: taken from tar files, written as a layer or into a folder, the same bytes each time.

Whoever made a file, it belongs to root; nothing is setuid.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEVEL = 6  # of gzip


@dataclass(frozen=True)
class Entry:
    """A file, folder or link."""

    kind: bytes
    mode: int
    content: bytes = b""
    target: str = ""


Tree = dict[str, Entry]  # by the place in the image, without a slash in front
FOLDER = Entry(tarfile.DIRTYPE, 0o755)


def file(content: bytes) -> Entry:
    """Return a file that everybody may read."""
    return Entry(tarfile.REGTYPE, 0o644, content)


def link(target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(tarfile.SYMTYPE, 0o777, target=target)


def add(tree: Tree, place: str, entry: Entry) -> None:
    """Put it there, with the folders above it."""
    for above in Path(place).parents[:-1]:
        tree.setdefault(str(above), FOLDER)
    tree[place] = entry


def entries(tar: tarfile.TarFile) -> Iterator[tuple[str, Entry]]:
    """Yield what is in a tar, by its place."""
    for member in tar:
        place = member.name.removeprefix("./").rstrip("/")
        if place in ("", "."):
            continue
        content = tar.extractfile(member) if member.isfile() or member.islnk() else None
        kind = tarfile.REGTYPE if content else member.type
        mode = member.mode & (0o1777 if member.isdir() else 0o777)
        yield place, Entry(kind, mode, content.read() if content else b"", member.linkname if member.issym() else "")


def write_layer(tree: Tree, out: Path) -> None:
    """Write it as a gzip'd tar."""
    with (
        out.open("wb") as plain,
        gzip.GzipFile("", "wb", LEVEL, plain, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for place, entry in sorted(tree.items()):
            info = tarfile.TarInfo(place)
            info.type, info.mode, info.size, info.linkname = entry.kind, entry.mode, len(entry.content), entry.target
            tar.addfile(info, io.BytesIO(entry.content))


def unpack(tree: Tree, folder: Path) -> None:
    """Write it into a folder, a new one or one that has other things in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, entry in sorted(tree.items()):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == tarfile.SYMTYPE:
            path.symlink_to(entry.target)
        elif entry.kind == tarfile.DIRTYPE:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(entry.mode)
        else:
            path.write_bytes(entry.content)
            path.chmod(entry.mode)
