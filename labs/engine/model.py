"""A lab: the steps of its `lab.py`, each bound to the section of its README with the same title.

lab = Lab()
wire = lab.step("The handshake is with the backend pod", needs=[control])

@wire.act                       does it, and records what was seen
def ask(env: Env) -> None: ...

@wire.check                     reads what was recorded: false before the act, true after it
def backend_from_the_syn_on(seen: StepEvidence) -> list[Claim]: ...
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from labs.engine.claims import Claim
from labs.engine.env import Env
from labs.engine.errors import LabError
from labs.engine.evidence import StepEvidence
from labs.engine.places import ROOT
from labs.engine.prose import Prose, Section, parse

LABS = ROOT / "labs"
Act = Callable[[Env], None]
Check = Callable[[StepEvidence], Iterable[Claim]]


@dataclass
class Step:
    title: str
    needs: Sequence["Step"] = ()  # steps whose evidence this one's check leans on
    acts: list[Act] = field(default_factory=list[Act])
    checks: list[Check] = field(default_factory=list[Check])

    @property
    def key(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def act(self, function: Act) -> Act:
        self.acts.append(function)
        return function

    def check(self, function: Check) -> Check:
        self.checks.append(function)
        return function


class Lab:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.undo: list[Act] = []
        self.folder = Path()
        self.prose = Prose("", "", (), "")

    @property
    def name(self) -> str:
        return self.folder.name

    def step(self, title: str, needs: Sequence[Step] = ()) -> Step:
        self.steps.append(Step(title, needs))
        return self.steps[-1]

    def reset(self, function: Act) -> Act:
        """Undoes whatever an interrupted step may have left on the nodes."""
        self.undo.append(function)
        return function

    def section(self, step: Step) -> Section:
        return self.prose.sections[self.steps.index(step)]


def available() -> list[str]:
    return sorted(file.parent.name for file in LABS.glob("[0-9][0-9]-*/lab.py"))


def load(wanted: str) -> Lab:
    """The lab whose folder is called, or begins with, `wanted`."""
    found = [name for name in available() if name == wanted or name.startswith(f"{wanted}-")]
    if len(found) != 1:
        raise LabError(f"no lab '{wanted}'; there is: {', '.join(available())}")
    return load_folder(LABS / found[0])


def load_folder(folder: Path) -> Lab:
    lab: Lab = _module(folder).lab
    lab.folder, lab.prose = folder, parse((folder / "README.md").read_text())
    _in_step(lab)
    return lab


def _module(folder: Path) -> ModuleType:
    """lab.py as a package, so that it can import from its own folder, whose name is none that Python would import."""
    name = f"lab_{folder.name}"
    spec = importlib.util.spec_from_file_location(name, folder / "lab.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise LabError(f"{folder / 'lab.py'} cannot be loaded as Python")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _in_step(lab: Lab) -> None:
    told, done = [section.title for section in lab.prose.sections], [step.title for step in lab.steps]
    if told != done:
        raise LabError(f"{lab.name}: README.md tells the steps {told}, and lab.py does {done}")
    idle = [step.title for step in lab.steps if not (step.acts and step.checks)]
    if idle:
        raise LabError(f"{lab.name}: these steps lack an act or a check: {idle}")
