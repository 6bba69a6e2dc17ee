"""The whole agent, fed by the API: what is created there is in the kernel's tables, and stays while the API is away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.agents import AgentUnderTest
from rig.control_plane import ControlPlane, agent_token
from rig.objects import SERVICES, SLICES, endpoint_slice, service
from rig.sandbox import Sandbox, mounted_bpffs


@pytest.fixture
def agent(
    own_plane: ControlPlane, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentUnderTest]:
    place = Sandbox(f"socklb-test-kube-{os.getpid()}")
    with mounted_bpffs(tmp_path_factory.mktemp("bpffs")) as bpffs:
        home = tmp_path / "agent"
        home.mkdir()
        agent = AgentUnderTest(home, place.cgroup, bpffs)
        agent.configure(manifests="", kubeconfig=str(own_plane.kubeconfig("agent", agent_token(own_plane))))
        try:
            yield agent
        finally:
            agent.stop()
            agent.run("cleanup")
            place.remove()


def served(agent: AgentUnderTest) -> dict[str, Any]:
    """Backends by frontend, of TCP, as the kernel has them."""
    rows = json.loads(agent.run("service", "list", "--json").stdout)
    return {row["frontend"]: row["backends"] for row in rows}


def test_services_of_the_api_are_in_the_kernel_and_stay_while_it_is_away(
    agent: AgentUnderTest, own_plane: ControlPlane
) -> None:
    created = own_plane.create(SERVICES, service("web", clusterIP="10.96.0.77"))
    own_plane.create(SLICES, endpoint_slice("web-1", "web", "10.244.1.5", "10.244.2.5"))
    agent.start()
    status = agent.until(lambda status: status["synced"])
    assert status["source"] == {"where": f"Kubernetes API {own_plane.server}", "lost_since": None, "reason": ""}
    frontend = f"{created['spec']['clusterIP']}:80/TCP"
    assert served(agent)[frontend] == ["10.244.1.5:8080", "10.244.2.5:8080"]

    own_plane.kill("kube-apiserver")
    agent.until(lambda status: status["source"]["lost_since"] is not None)
    assert "out of reach for" in agent.run("status").stdout
    assert served(agent)[frontend] == ["10.244.1.5:8080", "10.244.2.5:8080"]
    agent.kill()
    agent.launch()  # an agent that never reaches the server leaves what its predecessor wrote
    agent.until(lambda status: status["source"]["lost_since"] is not None)
    assert served(agent)[frontend] == ["10.244.1.5:8080", "10.244.2.5:8080"]

    own_plane.start("kube-apiserver")
    own_plane.patch(f"{SLICES}/web-1", {"endpoints": [{"addresses": ["10.244.3.5"]}]})
    agent.until(lambda status: status["source"]["lost_since"] is None and status["synced"])
    agent.until(lambda _: served(agent).get(frontend) == ["10.244.3.5:8080"])


def test_without_credentials_the_agent_says_what_to_set(agent: AgentUnderTest) -> None:
    agent.configure(manifests="", kubeconfig="/nonexistent/kubeconfig")
    done = agent.run("agent")
    assert done.returncode == 1
    assert "cannot use the kubeconfig" in done.stderr
    assert "'/nonexistent/kubeconfig'" in done.stderr
    agent.configure(manifests="")
    done = agent.run("agent")
    assert "no source of Services: Service host/port is not set." in done.stderr
    assert "next: set manifests (a folder) or kubeconfig in the configuration" in done.stderr
