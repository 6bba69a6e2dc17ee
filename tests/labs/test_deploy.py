"""deploys/lab.py: the steps of a lab as operations of a deploy."""

import json

from labs.engine.model import load
from tests.labs.command import lab
from tests.labs.translating import translating
from tests.support.cluster import Cluster, changes, deploy, pyinfra


def test_every_step_is_an_operation_that_is_judged(cluster: Cluster) -> None:
    lab("reset", "01")
    done = [name for name in changes(deploy("lab")) if name.startswith("Lab 01, step ")]
    titles = [section.title for section in load("01").prose.sections]
    assert done == [f"Lab 01, step {number}: {title}" for number, title in enumerate(titles, start=1)]
    assert lab("check", "01").returncode == 0


def test_a_false_claim_fails_its_operation_and_shows_the_evidence(cluster: Cluster) -> None:
    with translating(cluster.node("w1")):
        done = pyinfra("inventory", "deploys/lab.py", "-y", "--json")
    assert done.returncode == 1
    failed = [operation["name"] for operation in json.loads(done.stdout)["results"]["operations"] if operation["error"]]
    assert failed  # what follows is not done
    assert failed[0].startswith("Lab 01, step ")
    assert "✗" in done.stderr


def test_an_unknown_lab_is_an_error_that_names_the_known_ones(cluster: Cluster) -> None:
    done = pyinfra("inventory", "deploys/lab.py", "-y", "--data", "lab=99")
    assert done.returncode != 0
    assert "lab=99: no such lab. Valid: the number of one of 01-socket-lb" in done.stderr
