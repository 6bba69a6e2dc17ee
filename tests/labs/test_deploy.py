"""deploys/lab.py: the steps of a lab as operations of a deploy."""

import json

from labs.engine.model import load
from tests.labs.command import lab
from tests.support.cluster import Cluster, changes, deploy, pyinfra


def test_every_step_is_an_operation_that_is_judged(cluster: Cluster) -> None:
    lab("reset", "01")
    done = [name for name in changes(deploy("lab")) if name.startswith("Lab 01, step ")]
    titles = [section.title for section in load("01").prose.sections]
    assert done == [f"Lab 01, step {number}: {title}" for number, title in enumerate(titles, start=1)]
    assert lab("check", "01").returncode == 0


def test_a_false_claim_fails_its_operation_and_shows_the_evidence(cluster: Cluster) -> None:
    node = cluster.node("cp")
    node.output("nft", "add table ip extra; add chain ip extra pre { type nat hook prerouting priority dstnat; }")
    node.output("nft", "add rule ip extra pre ip daddr 192.0.2.1 tcp dport 80 dnat to 192.0.2.2")
    try:
        done = pyinfra("inventory", "deploys/lab.py", "-y", "--json")
    finally:
        node.output("nft", "delete table ip extra")
    assert done.returncode == 1
    failed = [operation["name"] for operation in json.loads(done.stdout)["results"]["operations"] if operation["error"]]
    assert failed[0] == "Lab 01, step 6: The nodes on the way translate nothing"  # what follows is not done
    assert "no node has a rule that rewrites a destination" in done.stderr


def test_an_unknown_lab_is_an_error_that_names_the_known_ones(cluster: Cluster) -> None:
    done = pyinfra("inventory", "deploys/lab.py", "-y", "--data", "lab=99")
    assert done.returncode != 0
    assert "lab=99: no such lab. Valid: the number of one of 01-socket-lb" in done.stderr
