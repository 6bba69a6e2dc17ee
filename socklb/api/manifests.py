"""A folder of manifests as the source of objects: ordinary Kubernetes YAML or JSON, read again when it changes.

    source = ManifestFolder(Path("/etc/socklb/manifests"))
    async with aclosing(source.batches()) as batches:
        async for batch in batches: …

Files *.yaml, *.yml and *.json in the folder itself are read, except those whose name begins with a dot. Symbolic links
are followed, so a mounted ConfigMap works. If an object is in two files, the first one by file name counts. While the
folder cannot be read, nothing changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import insort
from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from pathlib import Path

from socklb.api.findings import ObjectId
from socklb.api.manifest_file import NOTHING, SUFFIXES, FileContent, read_file, signature
from socklb.api.objects import Object
from socklb.api.source import Batch, Change, Problem, Reach
from socklb.api.watch import watch
from socklb.clock import time_of_day

log = logging.getLogger(__name__)


class ManifestFolder:
    """See the module. One consumer of `batches` at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, FileContent] = {}
        self._claims: dict[ObjectId, list[str]] = {}  # names of the files that contain it, in order; the first counts
        self._duplicates: set[ObjectId] = set()
        self._served: dict[ObjectId, Object] = {}
        self._outage: tuple[float, OSError] | None = None  # since when (monotonic) the folder cannot be read, and why
        self._untold: AbstractSet[ObjectId] = frozenset()  # passed on even if unchanged
        self._seen = False  # whether the folder could be read once
        self._logged: frozenset[Problem] = frozenset()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what is left out at present."""
        own = (self._folder_problem(self._outage[1]),) if self._outage else ()
        of_files = (problem for _, content in sorted(self._files.items()) for problem in content.problems)
        return (*own, *of_files, *self._duplicate_problems())

    @property
    def reach(self) -> Reach:
        """Return the folder, and since when it cannot be read."""
        since, reason = (time_of_day(self._outage[0]), _reason(self._outage[1])) if self._outage else (None, "")
        return Reach(f"folder {self.folder}", since, reason)

    @property
    def complete(self) -> bool:
        """Return whether everything in the folder was read without errors at least once since start."""
        return self._seen and not any(content.unread for content in self._files.values())

    async def batches(self) -> AsyncGenerator[Batch]:
        """Yield the first batch at once, others when objects or `complete` change.

        If called again, repeat everything: the last batch may not have been applied.
        """
        complete, self._untold = None, self._served.keys() | self._claims.keys()
        async with aclosing(watch(self.folder)) as looks:
            async for _ in looks:
                changes = self._merge(await asyncio.to_thread(self._read_changed))
                self._log_problems()
                if changes or complete != self.complete:
                    complete = self.complete
                    yield Batch(changes, complete)

    def _read_changed(self) -> dict[str, FileContent | None] | OSError:
        """Read the files that changed; None for one that was deleted. Runs in a thread and modifies nothing."""
        try:
            names = {path.name for path in self.folder.iterdir() if _is_manifest(path.name)}
        except OSError as error:
            return error
        changed: dict[str, FileContent | None] = dict.fromkeys(self._files.keys() - names)
        for name in sorted(names):
            path, before = self.folder / name, self._files.get(name)
            if before is None or before.signature is None or before.signature != signature(path):
                changed[name] = read_file(path, before)
        return changed

    def _merge(self, changed: dict[str, FileContent | None] | OSError) -> tuple[Change, ...]:
        if isinstance(changed, OSError):
            self._outage = (self._outage[0] if self._outage else time.monotonic(), changed)
            return ()
        self._outage, self._seen = None, True
        touched = set(self._untold)
        for name, content in changed.items():
            touched |= self._replace(name, content)
        changes = tuple(change for id_ in sorted(touched) if (change := self._change(id_)))
        self._untold = frozenset()
        return changes

    def _replace(self, name: str, content: FileContent | None) -> set[ObjectId]:
        """Take over the contents of a file; return the objects that it changes."""
        old = self._files.pop(name, NOTHING).objects
        new = content.objects if content else {}
        if content:
            self._files[name] = content
        for id_ in old.keys() - new.keys():
            self._claims[id_].remove(name)
        for id_ in new.keys() - old.keys():
            insort(self._claims.setdefault(id_, []), name)
        for id_ in old.keys() ^ new.keys():
            (self._duplicates.add if len(self._claims[id_]) > 1 else self._duplicates.discard)(id_)
        return {i for i in old.keys() | new.keys() if i not in old or i not in new or old[i].object != new[i].object}

    def _change(self, id_: ObjectId) -> Change | None:
        """Return how an object differs from what was passed on last."""
        claims = self._claims.get(id_)
        now = self._files[claims[0]].objects[id_].object if claims else None
        before = self._served.get(id_)
        if now is None:
            self._claims.pop(id_, None)
            self._served.pop(id_, None)
        else:
            self._served[id_] = now
        return Change(*id_, now) if now != before or id_ in self._untold else None

    def _folder_problem(self, error: OSError) -> Problem:
        hint = f"; next: mkdir -p {self.folder}" if isinstance(error, FileNotFoundError) else ""
        return Problem(str(self.folder), 0, "", f"{_reason(error)}{hint}")

    def _duplicate_problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(name, self._files[name].objects[id_].document, "metadata.name", message, "/".join(id_))
            for id_ in sorted(self._duplicates)
            for first, *others in [self._claims[id_]]
            for message in [f"also in {first} document {self._files[first].objects[id_].document}, which serves"]
            for name in others
        )

    def _log_problems(self) -> None:
        now = self.problems
        for problem in now:
            if problem not in self._logged:
                log.warning("left out: %s", problem)
        for problem in self._logged.difference(now):
            log.info("no longer a problem: %s", problem)
        self._logged = frozenset(now)


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def _is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")
