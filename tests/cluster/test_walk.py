"""A chaos walk on the local cluster: agents are killed under load, and nobody notices. Longer: make chaos ON=local."""

from pathlib import Path

import pytest

from labs.engine.target import open_target
from tests.chaos.cluster.short import a_lie_is_found, agents_killed
from tests.support.cluster import Cluster


@pytest.fixture(autouse=True)
def _on_it(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKLB_INVENTORY", "local")


def test_agents_killed_under_load(tmp_path: Path) -> None:
    agents_killed(open_target(), tmp_path)


def test_a_removed_endpoint_that_still_answers_is_found(tmp_path: Path) -> None:
    a_lie_is_found(open_target(), tmp_path)
