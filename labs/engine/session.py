"""One lab at work: its evidence in the checkout, its cluster, and the screen."""

from labs.engine.env import Env
from labs.engine.evidence import Evidence
from labs.engine.language import chosen
from labs.engine.language import gettext as _
from labs.engine.model import CLUSTER, Lab, Step, load
from labs.engine.progress import is_undone, state_folder
from labs.engine.screen import Screen
from labs.engine.stage import prepare, restore
from labs.engine.target import Target, open_target


class Session:
    def __init__(self, lab: Lab, screen: Screen) -> None:
        self.lab = lab
        self.screen = screen
        self.evidence = Evidence(state_folder() / lab.name)
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """Return the target, opened when it is first needed: judging recorded evidence needs no cluster."""
        if self._target is None:
            self._target = open_target()
        return self._target

    def prepare(self) -> None:
        """Prepare the cluster for the beginning of the lab, and store a snapshot of it."""
        prepare(self.lab, self.env())
        self.evidence.snapshot(self.target.cluster)

    def restore(self, deploy: str | None = CLUSTER) -> None:
        """Restore the cluster. A missing cluster is reported before anything is forgotten.

        What the lab's deploy made is removed, completed (`deploy` is the lab's own), or left as it is (None).
        """
        self.target.read()
        restore(self.lab, self.env(), deploy)
        is_undone(self.lab.name)

    def introduce(self) -> None:
        """Print what the lab is about."""
        if self.lab.prose.language != chosen():
            self.screen.line(_("This lab is not told in your language yet: in English."), "dim")
        self.screen.heading(self.lab.prose.title)
        self.screen.prose(self.lab.prose.intro)

    def env(self, step: Step | None = None) -> Env:
        seen = self.evidence.of(step.key if step else "")
        return Env(self.target, seen, self.screen, self.lab.folder)


def open_lab(name: str) -> Session:
    return Session(load(name, chosen()), Screen())
