"""The objects of one manifest file, and those that it keeps while it cannot be read.

    said = read_file(path, before)     # `before`: the last result; None: the file does not exist any more

A file that cannot be read keeps all its objects. An object that cannot be decoded keeps its last state, and the file's
other documents are used. While a document cannot even be identified, no object of the file counts as deleted. An empty
file counts as one that is being written; a file with nothing but comments has no objects.

There is no guarantee for a file that is written slowly in place: it may be read half-written. Writing another file and
renaming it avoids that.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from socklb.api.checks import ObjectError
from socklb.api.documents import DocumentError, load_json_file, load_yaml, split_yaml
from socklb.api.findings import Finding, ObjectId, findings
from socklb.api.objects import Object
from socklb.api.source import Problem
from socklb.errors import SocklbError

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 8 * 1024 * 1024
MAX_PROBLEMS = 100  # reported one by one
FRESH_SECONDS = 0.05  # a file may change again with the same time stamp: kernels use steps of up to 10 ms

Signature = tuple[int, int, int, int]


class Said(NamedTuple):
    """An object and the document that it is in, counted from 1."""

    document: int
    object: Object


@dataclass(frozen=True)
class FileContent:
    """The present contents of a file. `unread`: it has not been read without errors since start."""

    signature: Signature | None
    objects: dict[ObjectId, Said] = field(default_factory=dict[ObjectId, Said])
    problems: tuple[Problem, ...] = ()
    unread: bool = False
    texts: dict[bytes, tuple[list[Finding], ...]] = field(default_factory=dict[bytes, tuple[list[Finding], ...]])


NOTHING = FileContent(None, unread=True)


def signature(path: Path) -> Signature | None:
    """Return a value that changes whenever the file does; None if the file changed just now, or cannot be read.

    It is made from ctime, which nobody can set back. Symbolic links are followed.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    fresh = abs(time.time() - found.st_ctime) < FRESH_SECONDS
    return None if fresh else (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def read_file(path: Path, before: FileContent | None) -> FileContent | None:
    """Read a file again; documents whose text is unchanged are not parsed again. None: the file does not exist."""
    mark = signature(path)
    before_or_nothing = before or NOTHING
    try:
        data = _read(path)
        return _Collector(path.name, before_or_nothing).collect(mark, _documents(path, data, before_or_nothing))
    except FileNotFoundError:
        if not os.path.lexists(path):
            return None
        reason = "its target does not exist"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except SocklbError as error:
        reason = str(error)
    return FileContent(
        mark,
        before_or_nothing.objects,
        (Problem(path.name, 0, "", reason),),
        before_or_nothing.unread,
        before_or_nothing.texts,
    )


def _read(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for its writer
        raise SocklbError("no regular file", valid="a file")
    if found.st_size > MAX_BYTES:
        raise SocklbError(f"too large: {found.st_size} bytes", valid=f"up to {MAX_BYTES} bytes")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if not data:
        raise SocklbError("empty", valid="a comment, if it shall say nothing")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SocklbError(f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8") from None
    return data


Documents = Iterable[tuple[bytes, tuple[list[Finding], ...]]]


def _documents(path: Path, data: bytes, before: FileContent) -> Documents:
    for line, text in [(1, data)] if path.suffix == ".json" else split_yaml(data):
        known = before.texts.get(text)
        yield text, known if known is not None else _load(path, text, line)


def _load(path: Path, text: bytes, line: int) -> tuple[list[Finding], ...]:
    try:
        documents = load_json_file(text) if path.suffix == ".json" else load_yaml(text, line)
    except DocumentError as error:
        return ([Finding(None, None, error)],)
    return tuple(list(findings(raw)) for raw in documents)


class _Collector:
    """Combines the findings of one file with the file's objects before."""

    def __init__(self, name: str, before: FileContent) -> None:
        self._name = name
        self._before = before
        self._objects: dict[ObjectId, Said] = {}
        self._problems: list[Problem] = []
        self._untold = 0
        self._unread = False
        self._unknown = False  # whether a document cannot be identified

    def collect(self, mark: Signature | None, documents: Documents) -> FileContent:
        texts: dict[bytes, tuple[list[Finding], ...]] = {}
        number = 0
        for text, loaded in documents:
            for found in loaded:
                number += 1
                for finding in found:
                    self._add(number, finding)
            if all(finding.error is None for found in loaded for finding in found):
                texts[text] = loaded
        if self._unknown:
            self._objects = self._before.objects | self._objects
        if self._untold:
            self._problems.append(Problem(self._name, 0, "", f"{self._untold} more problems"))
        return FileContent(mark, self._objects, tuple(self._problems), self._unread, texts)

    def _tell(self, number: int, field_path: str, id_: ObjectId | None, message: object) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            name = "/".join(id_) if id_ else ""
            self._problems.append(Problem(self._name, number, field_path, str(message), name))
        else:
            self._untold += 1

    def _add(self, number: int, finding: Finding) -> None:
        if finding.error is not None:
            self._add_error(number, finding, finding.error)
        elif finding.id in self._objects:
            first = self._objects[finding.id].document
            self._tell(number, "metadata.name", finding.id, f"also in document {first} of this file, which serves")
        elif finding.id is not None and finding.object is not None:
            self._objects[finding.id] = Said(number, finding.object)

    def _add_error(self, number: int, finding: Finding, error: SocklbError) -> None:
        self._tell(number, error.field if isinstance(error, ObjectError) else "", finding.id, error)
        if finding.near_miss and finding.id not in self._before.objects:
            self._unknown = self._unknown or finding.id is None  # it may be the list that the file's objects were in
            return
        if finding.id is None:
            self._unknown = True
            self._unread = self._before.unread
        elif finding.id in self._before.objects:
            self._objects.setdefault(finding.id, Said(number, self._before.objects[finding.id].object))
        elif finding.id not in self._objects:
            self._unread = self._before.unread
