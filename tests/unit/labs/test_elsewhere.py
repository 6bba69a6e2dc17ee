"""Labs on clusters whose pods are where the scheduler wanted them: what cannot be done there is said in a sentence."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from labs.engine.cluster import Cluster
from labs.engine.errors import CannotRunError
from labs.engine.model import available, load
from labs.engine.scenario import Scenario
from tests.unit.labs.clusters import local

PLACED: dict[str, Callable[[Scenario], str]] = {
    "the client's node": lambda on: on.client_node,
    "the asked node": lambda on: on.asked,
    "a third node": lambda on: on.third,
}


def with_servers_on(cluster: Cluster, node: str) -> Cluster:
    pods = {name: replace(pod, node=node) if pod.kind == "web" else pod for name, pod in cluster.pods.items()}
    return replace(cluster, pods=pods)


def with_one_client(cluster: Cluster) -> Cluster:
    _, *others = [name for name, pod in cluster.pods.items() if pod.kind == "client"]
    return replace(cluster, pods={name: pod for name, pod in cluster.pods.items() if name not in others})


@pytest.mark.parametrize("name", available())
def test_where_only_one_client_is_every_step_knows_its_commands_or_says_why_not(name: str) -> None:
    tell_all(name, with_one_client(local(load(name))))


@pytest.mark.parametrize("placed", PLACED)
@pytest.mark.parametrize("name", available())
def test_every_step_knows_its_commands_or_says_why_not(name: str, placed: str) -> None:
    cluster = local(load(name))
    tell_all(name, with_servers_on(cluster, PLACED[placed](Scenario(cluster))))


def tell_all(name: str, cluster: Cluster) -> None:
    on = Scenario(cluster)
    for step in load(name).steps:
        with suppress(CannotRunError):
            step.where(on)
        with suppress(CannotRunError):
            step.commands(on)
