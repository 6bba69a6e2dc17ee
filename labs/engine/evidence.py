"""What the steps of a lab have recorded: `.lab/<inventory>/<lab>/state.json` and the captures in `pcaps/` beside it.

    env.record(Flows(known=[...]))         in before() or after(): a dataclass, by its type
    seen[Flows].known                      in a check: the same, with its type for pyright
    seen.capture("pod")                    the contents of the step's captures
    seen.said("dig")                       the output of commands that the reader typed
    seen.on                                the scenario, from a snapshot of the cluster: a check asks nobody
    seen.of(step.key), seen.lab("01")      another step's evidence, another lab's

A step's evidence is deleted before the step is done again, so a check can never use an earlier run's; and before a step
is done its check has no evidence, so it is false. The file is JSON and the captures are pcap files, so that a report
can be made from them later.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from labs.engine.capture import Capture, read
from labs.engine.claims import Claim, Verdict
from labs.engine.cluster import Cluster
from labs.engine.errors import BrokenCaptureError, LabError, NothingRecordedError
from labs.engine.ladder import Names
from labs.engine.places import Output
from labs.engine.scenario import Scenario
from socklb.errors import one_line

Fact = TypeVar("Fact")


class _Kept(msgspec.Struct):
    place: str
    interface: str
    filter: str
    file: str
    command: str
    dropped: int
    growing: bool = False


class _Typed(msgspec.Struct):
    outputs: list[Output]


class _Done(msgspec.Struct):
    at: str | None = None
    claims: list[Claim] = []
    seconds: float = 0.0


class _Step(msgspec.Struct):
    facts: dict[str, Any] = {}
    typed: _Typed | None = None
    captures: dict[str, _Kept] = {}
    done: _Done | None = None


class _State(msgspec.Struct):
    """The contents of the file."""

    cluster: Cluster = Cluster()
    steps: dict[str, _Step] = {}


class Evidence:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"
        self._state: dict[str, Any] = {"cluster": {}, "steps": {}}
        if self._file.exists():
            self._state |= self._read()

    def _read(self) -> dict[str, Any]:
        """Return what is in the file, if it is what this version writes."""
        try:
            found = msgspec.json.decode(self._file.read_bytes())
            msgspec.convert(found, _State)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise LabError(f"{self._file} cannot be read: {one_line(str(error))}. Next: rm {self._file}") from None
        return found

    @property
    def cluster(self) -> Cluster:
        """Return the snapshot: the cluster as it was when the lab last read it."""
        return msgspec.convert(self._state["cluster"], Cluster)

    @property
    def names(self) -> Names:
        return self.cluster.names()

    def snapshot(self, cluster: Cluster) -> None:
        self._state["cluster"] = msgspec.to_builtins(cluster)
        self._save()

    def wipe(self, step: str) -> None:
        for file in self.folder.glob(f"pcaps/{step}.*.pcap"):
            file.unlink()
        self._state["steps"].pop(step, None)
        self._save()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, step: str) -> "Seen":
        return Seen(self, step)

    def steps(self) -> dict[str, Any]:
        return self._state["steps"]

    def add(self, step: str, kind: str, key: str, value: object) -> None:
        self._state["steps"].setdefault(step, {}).setdefault(kind, {})[key] = value
        self._save()

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self._state, indent=1))
        fresh.replace(self._file)


class Seen:
    """One step's evidence."""

    def __init__(self, all_steps: Evidence, step: str) -> None:
        self._all = all_steps
        self._step = step

    @property
    def on(self) -> Scenario:
        return Scenario(self._all.cluster)

    def of(self, step: str) -> "Seen":
        """Return another step's evidence, for example that of a control."""
        return self._all.of(step)

    def lab(self, number: str, step: str) -> "Seen":
        """Return the evidence of a step of another lab, which may have nothing recorded."""
        folders = sorted(self._all.folder.parent.glob(f"{number}-*"))
        if not folders:
            raise NothingRecordedError(f"nothing is recorded of lab {number}. Next: lab run {number}")
        return Evidence(folders[0]).of(step)

    def record(self, fact: object) -> None:
        """Store a dataclass, by the name of its type."""
        self._all.add(self._step, "facts", type(fact).__name__, msgspec.to_builtins(fact))

    def __getitem__(self, kind: type[Fact]) -> Fact:
        kept = self._get("facts", kind.__name__)
        try:
            return msgspec.convert(kept, kind)
        except msgspec.ValidationError as error:
            why = f"what step '{self._step}' has recorded as {kind.__name__} is of another version: {error}"
            raise BrokenCaptureError(why) from None

    def typed(self, outputs: Sequence[Output]) -> None:
        """Store the output of the reader's commands."""
        self._all.add(self._step, "typed", "outputs", msgspec.to_builtins(outputs))

    @property
    def outputs(self) -> list[Output]:
        """Return what was typed in this step, with its output."""
        kept = self._all.steps().get(self._step, {}).get("typed", {}).get("outputs", [])
        return msgspec.convert(kept, list[Output])

    def said(self, *words: str, place: str = "") -> Output:
        """Return the last output of a command that begins with these words.

        Raises:
            NothingRecordedError: no such command was typed.
        """
        of_place = [output for output in self.outputs if place in ("", output.place)]
        found = [output for output in of_place if output.words[: len(words)] == words]
        if not found:
            at = f" at {place}" if place else ""
            raise NothingRecordedError(f"nobody typed `{' '.join(words)}`{at} by `lab exec` or in a `lab shell`")
        return found[-1]

    def keep(self, name: str, capture: Capture) -> None:
        kept = {f.name: getattr(capture, f.name) for f in dataclasses.fields(Capture)}
        del kept["packets"], kept["names"]  # the file has the packets, and the snapshot the names
        self._all.add(self._step, "captures", name, kept)

    def capture(self, name: str) -> Capture:
        kept = self._get("captures", name)
        return Capture(
            **kept, packets=read(self._all.folder / kept["file"], growing=kept["growing"]), names=self._all.names
        )

    @property
    def captures(self) -> list[str]:
        return [*self._all.steps().get(self._step, {}).get("captures", {})]

    def pcap(self, name: str) -> Path:
        return self._all.folder / "pcaps" / f"{self._step}.{name}.pcap"

    def done(self) -> None:
        self._all.add(self._step, "done", "at", time.strftime("%Y-%m-%d %H:%M:%S"))

    def judged(self, claims: Sequence[Claim], seconds: float) -> None:
        """Store the verdicts, for a report."""
        self._all.add(self._step, "done", "claims", msgspec.to_builtins(claims))
        self._all.add(self._step, "done", "seconds", round(seconds, 3))

    @property
    def recorded(self) -> str | None:
        """Return when the step was completed, if ever."""
        return self._all.steps().get(self._step, {}).get("done", {}).get("at")

    @property
    def is_done(self) -> bool:
        """Return whether it was judged, and no claim of it is false or in doubt."""
        claims = self._all.steps().get(self._step, {}).get("done", {}).get("claims", [])
        return bool(claims) and all(claim["verdict"] in (Verdict.TRUE, Verdict.SKIPPED) for claim in claims)

    def _get(self, kind: str, key: str) -> Any:
        try:
            return self._all.steps()[self._step][kind][key]
        except KeyError:
            raise NothingRecordedError(f"step '{self._step}' has recorded no {key}") from None
