"""What the steps of a lab have recorded: `.lab/<lab>/state.json` and the captures in `.lab/<lab>/pcaps/`.

Acts write it, checks only read it. A step's evidence is wiped before the step is done again, so a check can never
lean on an earlier run's, and before a step is done its check has nothing to lean on: it is false.
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

from labs.engine.capture import Capture, read
from labs.engine.errors import LabError, NothingRecordedError
from labs.engine.ladder import Names
from labs.engine.packet import Endpoint


class Evidence:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"
        self._state: dict[str, Any] = {"names": {}, "steps": {}}
        if self._file.exists():
            self._state |= self._read()

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._file.read_text())
        except ValueError as error:
            raise LabError(f"{self._file} cannot be read: {error}. Next: rm {self._file}") from None

    @property
    def names(self) -> Names:
        return self._state["names"]

    def called(self, names: Names) -> None:
        """From now on these addresses have names."""
        self._state["names"] = dict(names)
        self._save()

    def wipe(self, step: str) -> None:
        for file in self.folder.glob(f"pcaps/{step}.*.pcap"):
            file.unlink()
        self._state["steps"].pop(step, None)
        self._save()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, step: str) -> "StepEvidence":
        return StepEvidence(self, step)

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


class StepEvidence:
    """One step's evidence. `seen["key"]` gives back what its act recorded, as JSON keeps it."""

    def __init__(self, all_steps: Evidence, step: str) -> None:
        self._all = all_steps
        self._step = step

    def of(self, step: str) -> "StepEvidence":
        """Another step's evidence: where a control stands."""
        return self._all.of(step)

    def record(self, key: str, value: object) -> None:
        self._all.add(self._step, "facts", key, value)

    def __getitem__(self, key: str) -> Any:
        return self._get("facts", key)

    def endpoint(self, key: str) -> Endpoint:
        return Endpoint(*self[key])

    def endpoints(self, key: str) -> dict[str, Endpoint]:
        return {name: Endpoint(*end) for name, end in self[key].items()}

    def keep(self, name: str, capture: Capture) -> None:
        kept = {f.name: getattr(capture, f.name) for f in dataclasses.fields(Capture)}
        del kept["packets"], kept["names"]  # the file has the packets, the lab the names
        self._all.add(self._step, "captures", name, kept)

    def capture(self, name: str) -> Capture:
        kept = self._get("captures", name)
        return Capture(**kept, packets=read(self._all.folder / kept["file"]), names=self._all.names)

    def pcap(self, name: str) -> Path:
        return self._all.folder / "pcaps" / f"{self._step}.{name}.pcap"

    def done(self) -> None:
        self._all.add(self._step, "done", "at", time.strftime("%Y-%m-%d %H:%M:%S"))

    @property
    def recorded(self) -> str | None:
        """When the step was done to its end, if ever."""
        return self._all.steps().get(self._step, {}).get("done", {}).get("at")

    def _get(self, kind: str, key: str) -> Any:
        try:
            return self._all.steps()[self._step][kind][key]
        except KeyError:
            raise NothingRecordedError(f"step '{self._step}' has recorded no {key}") from None
