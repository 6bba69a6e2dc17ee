"""Pods that a label leaves out, as the API says it to an agent with the rights of rbac-bypass.yaml, and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rig.agents import AgentUnderTest
from rig.control_plane import ControlPlane
from rig.objects import NODES, PODS, node, pod
from rig.sandbox import remove_cgroup
from socklb.api.marks import BYPASS
from tests.kube.test_agent import agent as _agent
from tests.support.cluster import ROOT

RIGHTS = ROOT / "deploys" / "kubernetes" / "rbac-bypass.yaml"
NAMESPACE = "/api/v1/namespaces/default"
Label = Callable[[str | None], object]
agent = _agent


@pytest.fixture
def bypassing(agent: AgentUnderTest, own_plane: ControlPlane) -> AgentUnderTest:
    """An agent of the node w1 that may leave Pods out, and does not run yet."""
    with agent.config.open("a") as config:
        config.write("bypass_pods = true\n")
    own_plane.create(NODES, node("w1"))
    own_plane.create(NODES, node("w2"))
    return agent


@contextmanager
def running(
    plane: ControlPlane, agent: AgentUnderTest, name: str, node_name: str = "w1", **labels: str
) -> Iterator[str]:
    """A Pod that its kubelet says runs, with the cgroup that a kubelet makes for it; gives that one's path."""
    created: dict[str, Any] = plane.create(PODS, pod(name, node_name, **labels))
    plane.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running"}})
    cgroup = agent.cgroup / f"kubepods-pod{created['metadata']['uid'].replace('-', '_')}.slice"
    cgroup.mkdir()
    try:
        yield f"/{cgroup.name}"
    finally:
        remove_cgroup(cgroup)


def labelled(plane: ControlPlane, path: str, value: str | None) -> None:
    plane.patch(path, {"metadata": {"labels": {BYPASS: value}}})


def left_out(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["cgroup"]: (row["pod"], row["why"]) for row in status["left_out"]}


def test_a_label_of_the_pod_or_its_namespace_counts_while_it_is_there(
    bypassing: AgentUnderTest, own_plane: ControlPlane
) -> None:
    own_plane.apply(RIGHTS)
    bypassing.start()
    with running(own_plane, bypassing, "web") as web, running(own_plane, bypassing, "own", **{BYPASS: "false"}) as own:
        by_pod = {web: ("default/web", f"label {BYPASS} of the Pod")}
        by_namespace = {web: ("default/web", f"label {BYPASS} of its Namespace")}
        with running(own_plane, bypassing, "elsewhere", "w2", **{BYPASS: "true"}):
            labelled(own_plane, f"{PODS}/web", "true")
            bypassing.until(lambda status: left_out(status) == by_pod)
        labelled(own_plane, f"{PODS}/web", None)
        bypassing.until(lambda status: not status["left_out"])
        labelled(own_plane, NAMESPACE, "true")
        status = bypassing.until(lambda status: left_out(status) == by_namespace)
        assert own not in left_out(status)
        assert not [problem for problem in status["problems"] if "left out" in problem["message"]]
        labelled(own_plane, NAMESPACE, None)
        bypassing.until(lambda status: not status["left_out"])


def test_what_was_left_out_stays_so_while_the_api_is_away_and_the_agent_starts_anew(
    bypassing: AgentUnderTest, own_plane: ControlPlane
) -> None:
    own_plane.apply(RIGHTS)
    bypassing.start()
    with running(own_plane, bypassing, "web", **{BYPASS: "true"}) as web:
        before = bypassing.until(lambda status: web in left_out(status))["left_out"][0]
        own_plane.kill("kube-apiserver")
        bypassing.kill()
        bypassing.launch()
        status = bypassing.until(lambda status: status["source"]["lost_since"] is not None and status["left_out"])
        assert left_out(status) == {web: ("", "an earlier agent left it out, and not everything is read yet")}
        own_plane.start("kube-apiserver")
        status = bypassing.until(lambda status: status["synced"] and left_out(status)[web][0])
        assert status["left_out"] == [before]


def test_without_the_right_nobody_is_left_out_and_a_problem_says_what_is_missing(
    bypassing: AgentUnderTest, own_plane: ControlPlane
) -> None:
    bypassing.start()
    with running(own_plane, bypassing, "web", **{BYPASS: "true"}):
        status = bypassing.until(lambda status: status["synced"] and len(status["problems"]) == 2)
        told = {problem["object"]: problem["message"] for problem in status["problems"]}
        assert told.keys() == {"this node's Pods", "Namespace"}
        assert 'resource "pods" in API group "" at the cluster scope' in told["this node's Pods"]
        assert "kubectl apply -f deploys/kubernetes/rbac-bypass.yaml" in told["this node's Pods"]
        assert not status["left_out"]


def test_a_running_pod_without_a_cgroup_is_a_problem(bypassing: AgentUnderTest, own_plane: ControlPlane) -> None:
    own_plane.apply(RIGHTS)
    bypassing.start()
    with running(own_plane, bypassing, "web", **{BYPASS: "true"}) as web:
        bypassing.until(lambda status: web in left_out(status))
    status = bypassing.until(lambda status: status["problems"])
    (problem,) = status["problems"]
    assert problem["message"].startswith(f"Pod default/web is to be left out, and no cgroup below {bypassing.cgroup}")


def test_the_agent_asks_for_its_own_nodes_pods_by_the_rights_of_the_manifest_alone(own_plane: ControlPlane) -> None:
    own_plane.apply(RIGHTS)
    account = "--as=system:serviceaccount:kube-system:socklb"
    for kind in ("pods", "namespaces"):
        for verb, may in (("list", "yes"), ("watch", "yes"), ("get", "no"), ("delete", "no"), ("update", "no")):
            assert own_plane.kubectl("auth", "can-i", verb, kind, account, check=False).strip() == may, (verb, kind)
