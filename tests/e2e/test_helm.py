"""The chart on a real cluster: agents are installed, upgraded, rolled back and uninstalled, and no connect fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventory.group_data.kind import pod_cidrs, services
from tests.support.daemonset import (
    agents,
    cgroup_of,
    instead_of_units,
    left_on,
    needed_there,
    status,
    stop_units,
    what_they_say,
)
from tests.support.hammer import hammering
from tests.support.helm import CHART, helm
from tests.support.kubernetes import SEALED_DOCKER, Kubernetes

ADDRESS, PORT = services["web"]["addresses"][0], 80
NAMESPACE = "socklb"  # not kube-system: uninstalling there would end the account of the units, and their token with it
MANY = 100  # answers that the least of loads has given


class Release:
    """The release on the kind cluster."""

    def __init__(self, kubernetes: Kubernetes, kubeconfig: Path) -> None:
        self._kubernetes = kubernetes
        self._reach = ("--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE)
        node = kubernetes.nodes[kubernetes.workers[0]]
        self.values: dict[str, Any] = {
            "apiServers": [f"https://{kubernetes.addresses('socklb-control-plane')[0]}:6443"],
            "podCIDRs": pod_cidrs,
            "nodeRoutes": True,
            "cgroup": cgroup_of(node),
            "capabilities": needed_there(node),
        }

    def put(self, verb: str, *options: str, **values: Any) -> None:
        """Install or upgrade with these values besides."""
        self.run(verb, "socklb", str(CHART), *options, values={**self.values, **values})

    def uninstall(self) -> None:
        """Come back when the agents are gone, and, where it says so, all nodes are clean."""
        self.run("uninstall", "socklb", "--wait", "--cascade=foreground")

    def run(self, *words: str, values: dict[str, Any] | None = None) -> None:
        done = helm(*words, "--timeout=3m", *self._reach, values=values, through=(SEALED_DOCKER, Path("run")))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{what_they_say(self._kubernetes, NAMESPACE)}"

    def agents(self) -> dict[str, str]:
        """The names of the agents' pods by node."""
        return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in agents(self._kubernetes, NAMESPACE)}

    def said(self) -> set[str]:
        """What the agents' socklb.toml says of log_level."""
        found = self._kubernetes.get("configmap", "socklb", "--namespace", NAMESPACE)["data"]["socklb.toml"]
        return {line for line in found.splitlines() if line.startswith("log_level")}


@pytest.fixture
def release(kubernetes: Kubernetes, agent_image: None, kubeconfig: Path) -> Iterator[Release]:
    with instead_of_units(kubernetes):
        try:
            yield Release(kubernetes, kubeconfig)
        finally:
            kubernetes.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")


def test_no_connect_fails_from_its_installation_to_its_end(kubernetes: Kubernetes, release: Release) -> None:
    """At last all is taken off the nodes, which are not served from then on; the units start anew."""
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        stop_units(kubernetes)
        # The deploys made the ClusterRole; so would `kubectl apply -k`.
        release.put("install", "--wait", "--create-namespace", "--take-ownership")
        installed = release.agents()
        assert set(installed) == set(kubernetes.nodes)
        told = [status(kubernetes, pod) for pod in agents(kubernetes, NAMESPACE)]
        assert [one["problems"] for one in told] == [[]] * len(told)

        release.put("upgrade", "--wait", logLevel="debug")
        upgraded = release.agents()
        assert release.said() == {'log_level = "debug"'}
        assert not set(installed.values()) & set(upgraded.values())

        release.run("rollback", "socklb", "1", "--wait")
        assert release.said() == {'log_level = "info"'}
        assert not set(upgraded.values()) & set(release.agents().values())

        release.uninstall()
        assert release.agents() == {}
        assert {name: left_on(node) for name, node in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 3)
    assert load.failures == {}
    assert sum(load.served.values()) > MANY

    release.put("install", cleanupOnUninstall=True)
    release.uninstall()
    assert {name: left_on(node) for name, node in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 0)
    kinds = "daemonset,job,configmap,serviceaccount,role,rolebinding"
    everything = kubernetes.get(kinds, "--namespace", NAMESPACE)["items"]
    ours = [one["metadata"]["name"] for one in everything if "socklb" in one["metadata"]["name"]]
    assert ours == []
