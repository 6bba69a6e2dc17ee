"""A lab: the steps of its `lab.py`, each bound to the section of its README with the same title. See docs/labs.md.

    lab = Lab(minutes=10)
    wire = lab.step("The handshake is with the backend pod", builds_on=[outside])

    @wire.captures                  where to capture while the reader acts
    def where(on: Scenario) -> Iterable[Look]: ...

    @wire.act                       what the reader types; `lab run` and `lab solve` do the same
    def ask(on: Scenario) -> Commands: ...          if it is short: wire.act(lambda on: [...])

    @wire.check                     reads what was seen: false before the act, true after it
    def backend_from_the_syn_on(seen: Seen) -> Iterable[Claim]: ...

A step may also have `before` (controls, a fault to be repaired) and `observe` (what no packet shows).
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from labs.engine.capture import Look
from labs.engine.claims import Claim
from labs.engine.env import Env
from labs.engine.errors import LabError
from labs.engine.evidence import Seen
from labs.engine.language import ENGLISH
from labs.engine.language import gettext as _
from labs.engine.needs import Need
from labs.engine.places import ROOT, Command, Output
from labs.engine.prose import Prose, Section, parse, parse_other
from labs.engine.scenario import Scenario

LABS = ROOT / "labs"
CLUSTER = "cluster"  # the deploy for a lab that does not ask for another one
Commands = Generator[Command, Output]  # `said = yield command`: its output, for an act that depends on it
Act = Callable[[Scenario], Commands | Iterable[Command]]
Looks = Callable[[Scenario], Iterable[Look]]
Part = Callable[[Env], None]
Check = Callable[[Seen], Iterable[Claim]]


@dataclass
class Step:
    title: str
    builds_on: Sequence["Step"] = ()  # steps whose evidence this one's check uses: controls
    needs: Sequence[Need] = ()  # what must exist; without it the step is skipped
    prepares: list[Part] = field(default_factory=list[Part])
    looks: list[Looks] = field(default_factory=list[Looks])
    acts: list[Act] = field(default_factory=list[Act])
    observes: list[Part] = field(default_factory=list[Part])
    checks: list[Check] = field(default_factory=list[Check])

    @property
    def key(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def before(self, function: Part) -> Part:
        """Set what the engine does before the reader acts: a control, or a fault that the reader is to repair."""
        self.prepares.append(function)
        return function

    def captures(self, function: Looks) -> Looks:
        """Set where packets are captured while the reader acts."""
        self.looks.append(function)
        return function

    def act(self, function: Act) -> Act:
        """Set what the reader types."""
        self.acts.append(function)
        return function

    def observe(self, function: Part) -> Part:
        """Set what is looked at after the act. It may be called often, and changes nothing."""
        self.observes.append(function)
        return function

    def check(self, function: Check) -> Check:
        """Set the claims."""
        self.checks.append(function)
        return function

    def where(self, on: Scenario) -> list[Look]:
        """Return the captures of this step."""
        return [look for looks in self.looks for look in looks(on)]

    def commands(self, on: Scenario) -> list[Command]:
        """Return the commands to type, each once; an act that depends on output gets none."""
        nothing = Output("", 0, "", "")
        listed: list[Command] = []
        for act in self.acts:
            doing = begun(act, on)
            listed += [next(doing)]
            while True:
                try:
                    listed.append(doing.send(nothing))
                except StopIteration:
                    break
        return [*dict.fromkeys(listed)]


class Lab:
    """A lab. It needs the workload of deploys/cluster.py, and what else it declares.

    `deploy` is another file of deploys/ that builds its cluster. Objects in `objects.yaml` beside lab.py, Services in
    Kubernetes' own format, are applied before its first step. Both are undone when it is over.
    """

    def __init__(self, minutes: int, deploy: str = CLUSTER, needs: Sequence[Need] = ()) -> None:
        self.minutes, self.deploy, self.needs = minutes, deploy, needs
        self.steps: list[Step] = []
        self.undo: list[Part] = []
        self.folder = Path()
        self.prose = Prose("", "", (), "")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def number(self) -> str:
        return self.name.partition("-")[0]

    def needs_of(self, step: "Step") -> list[Need]:
        """Return what a step needs, with what its controls need: without them it would have nothing to stand beside."""
        of_controls = [need for other in step.builds_on for need in other.needs]
        return [*dict.fromkeys([*self.needs, *step.needs, *of_controls])]

    def step(
        self,
        title: str,
        builds_on: Sequence[Step] = (),
        needs: Sequence[Need] = (),
        before: Part | None = None,
        captures: Looks | None = None,
        observe: Part | None = None,
    ) -> Step:
        """Add a step. What several steps share is passed as arguments; what is its own is written below it."""
        step = Step(title, builds_on, needs)
        step.prepares += [before] if before else []
        step.looks += [captures] if captures else []
        step.observes += [observe] if observe else []
        self.steps.append(step)
        return step

    def reset(self, function: Part) -> Part:
        """Set what undoes anything that an interrupted step may have left."""
        self.undo.append(function)
        return function

    @property
    def objects(self) -> Path:
        """Return the path of its Kubernetes objects; the file may not exist."""
        return self.folder / "objects.yaml"

    def section(self, step: Step) -> Section:
        return self.prose.sections[self.steps.index(step)]

    def heading(self, step: Step) -> str:
        section = self.section(step)
        told = _("Step {number} of {count} · {title}")
        return told.format(number=section.number, count=len(self.steps), title=section.title)


def begun(act: Act, on: Scenario) -> Commands:
    """Return the commands of an act, one after the other; a list of commands ignores output."""
    commands = act(on)
    yield from commands if isinstance(commands, Generator) else (command for command in commands)


def available() -> list[str]:
    return sorted(file.parent.name for file in LABS.glob("[0-9][0-9]-*/lab.py"))


def load(wanted: str, language: str = ENGLISH) -> Lab:
    """Return the lab whose folder's name is, or begins with, `wanted`; in this language, if its prose exists in it."""
    found = [name for name in available() if name == wanted or name.startswith(f"{wanted}-")]
    if len(found) != 1:
        raise LabError(f"no lab '{wanted}'; there is: {', '.join(available())}")
    return load_folder(LABS / found[0], language)


def load_folder(folder: Path, language: str = ENGLISH) -> Lab:
    lab: Lab = _module(folder).lab
    lab.folder, lab.prose = folder, parse((folder / "README.md").read_text())
    _in_step(lab)
    other = folder / f"README.{language}.md"
    if other.exists():
        lab.prose = parse_other(other.read_text(), language, lab.prose)
    return lab


def _module(folder: Path) -> ModuleType:
    """Return lab.py as a package, so that it can import from its own folder, whose name is not valid in Python."""
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
