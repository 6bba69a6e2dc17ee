"""deploys/cluster.py on bare machines over SSH, and what the cluster then does."""

import json
from pathlib import Path

import pytest

from tests.e2e_ssh.conftest import CONTROL_PLANE, WORKERS
from tests.labs.command import cases
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.kubernetes import Kubernetes
from tests.support.sealed import run

NODES = [CONTROL_PLANE, *WORKERS]


def test_after_runs_that_were_killed_at_random_one_that_was_not_makes_the_cluster(
    cluster: Kubernetes, cut_off: list[float]
) -> None:
    if not cut_off:
        pytest.skip("the cluster was kept, and not made by this session")
    ready = {node["metadata"]["name"]: node["status"]["conditions"][-1] for node in cluster.get("nodes")["items"]}
    assert {name: (last["type"], last["status"]) for name, last in ready.items()} == dict.fromkeys(
        NODES, ("Ready", "True")
    )
    assert not cluster.get("daemonsets", "--namespace=kube-system")["items"]  # no kube-proxy


def test_a_second_run_changes_nothing(metal: BareMetal, cluster: Kubernetes) -> None:
    assert changes(metal.deploy("cluster")) == []


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("node", NODES)
def test_who_asks_a_machine_for_the_node_port_from_outside_is_answered_by_a_pod(
    metal: BareMetal, cluster: Kubernetes, node: str, family: int
) -> None:
    address = metal.machines[node].addresses[family]
    url = f"http://[{address}]:32000/" if family else f"http://{address}:32000/"
    answer = run("curl", "-sS", "--max-time", "5", url)  # from the docker's machine, which is no node
    assert answer.stdout.strip() in {pod["metadata"]["name"] for pod in cluster.pods("app=web")}, answer.stderr


@pytest.mark.parametrize("node", NODES)
def test_the_agent_of_each_machine_finds_nothing_wrong(cluster: Kubernetes, node: str) -> None:
    place = cluster.nodes[node]
    check = place.run("socklb", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    status = json.loads(place.output("socklb", "status", "--json"))
    assert (status["synced"], status["problems"]) == (True, [])
    assert len(status["hooks"]) == 11
    assert all(hook["effective"] for hook in status["hooks"])


def test_every_node_is_as_the_roles_say(metal: BareMetal, cluster: Kubernetes) -> None:
    done = metal.project("pytest", "-q", "tests/nodes", "--inventory", str(metal.file), "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("lab", ["01", "06"])
def test_every_claim_of_a_lab_holds_on_machines(
    lab: str, metal: BareMetal, cluster: Kubernetes, tmp_path: Path
) -> None:
    done = metal.project("lab", "run", lab, "--ci", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 0, done.stdout + done.stderr
    claims = cases(tmp_path / "junit.xml")
    assert len(claims) > 5
    assert {outcome for _, _, outcome in claims} == {"true"}
