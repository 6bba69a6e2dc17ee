"""roles/agent."""

import json
import tomllib

import pytest
from pyinfra.api.host import Host
from testinfra.host import Host as Node

from inventory import hosts

on_nodes = pytest.mark.group("nodes")


@on_nodes
def test_the_agent_runs_and_has_done_its_first_sync(node: Node) -> None:
    done = node.run("socklb status --json")
    assert done.rc == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["agent"]["running"]
    assert status["synced"]
    assert status["problems"] == []


@on_nodes
def test_its_hooks_are_attached_and_effective(node: Node) -> None:
    hooks = json.loads(node.check_output("socklb status --json"))["hooks"]
    assert hooks
    assert [hook["name"] for hook in hooks if not (hook["attached"] and hook["effective"])] == []


@on_nodes
def test_its_configuration_names_this_node(node: Node, machine: Host) -> None:
    config = tomllib.loads(node.file("/etc/socklb/socklb.toml").content_string)
    assert config["node"] == hosts.short_name(machine)
    if "manifests" in config:
        assert node.file(config["manifests"]).is_directory
    else:
        assert node.file(config["kubeconfig"]).mode == 0o600, "whoever reads it has the agent's rights"


@on_nodes
def test_its_service_outlives_the_deploy(node: Node) -> None:
    if node.check_output("cat /proc/1/comm") == "systemd":
        assert node.service("socklb-agent").is_enabled
        return
    pid = node.file("/run/socklb/agent.pid").content_string.strip()
    assert node.process.get(pid=pid).ppid == 1


@pytest.mark.group("outside")
def test_the_machine_outside_has_no_agent(node: Node) -> None:
    assert not node.file("/opt/socklb").exists
