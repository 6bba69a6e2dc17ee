"""One lab at work: its evidence in the checkout, the cluster it runs on, and the screen."""

from pathlib import Path

from labs.engine.cluster import Cluster, read_cluster
from labs.engine.env import Env
from labs.engine.evidence import Evidence
from labs.engine.model import Lab, load
from labs.engine.places import ROOT
from labs.engine.screen import Screen


class Session:
    def __init__(self, lab: Lab, state: Path, screen: Screen) -> None:
        self.lab = lab
        self.screen = screen
        self.evidence = Evidence(state)
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """Read when first needed: judging recorded evidence needs no cluster."""
        if self._cluster is None:
            self._cluster = read_cluster()
            self.evidence.called(self._cluster.names())
        return self._cluster

    def env(self, step: str) -> Env:
        return Env(self.cluster, self.evidence.of(step), self.screen, self.lab.folder)


def open_lab(name: str) -> Session:
    lab = load(name)
    return Session(lab, ROOT / ".lab" / lab.name, Screen())
