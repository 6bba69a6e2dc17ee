"""deploys/cluster.py as a user types it."""

import os
import signal
from pathlib import Path

import pytest

from inventory.connectors import netns_node
from tests.support.cluster import Cluster, changes, deploy, pyinfra

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_second_run_changes_nothing() -> None:
    results = deploy("cluster")
    assert changes(results) == []
    assert results["totals"]["no_change"] == results["totals"]["hosts"] > 40


def test_the_literal_command_works_without_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKLB_INVENTORY", raising=False)
    done = pyinfra("inventory", "deploys/cluster.py", given="\n")  # pyinfra waits for Enter before it changes anything
    assert done.returncode == 0, done.stderr
    assert "[@netns/w1]" in done.stderr


def test_an_unknown_inventory_is_an_error_that_names_the_valid_ones() -> None:
    done = pyinfra("inventory", "deploys/cluster.py", "-y", SOCKLB_INVENTORY="lokal")
    assert done.returncode != 0
    assert "SOCKLB_INVENTORY=lokal" in done.stderr
    assert "Valid: kind, local" in done.stderr


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        pytest.param(
            "from roles.operations import tools; tools(packages={'frobnicate': 'frob-utils'})",
            "lacks frobnicate and is sealed; it sees what this machine has installed. "
            "Next: make setup (or: apt-get install frob-utils)",
            id="a missing package",
        ),
        pytest.param(
            "from roles.agent.operations import bundle; bundle(tar='build/nope.tar')",
            "build/nope.tar is missing. Next: make build",
            id="a missing bundle",
        ),
    ],
)
def test_what_is_missing_is_one_line_with_the_remedy(tmp_path: Path, operation: str, said: str) -> None:
    file = tmp_path / "one.py"
    file.write_text(operation)
    done = pyinfra("inventory", str(file), "-y", "--limit", "workers")
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_configuration_restarts_only_its_server(cluster: Cluster) -> None:
    node = cluster.node("w1")
    before = {pod: node.output("cat", f"/run/socklb/{pod}.pid") for pod in ("web-1", "dns-1")}
    node.output("sh", "-c", "echo >>/etc/socklb/workload/web-1.conf")
    deploy("cluster")
    assert node.output("cat", "/run/socklb/web-1.pid") != before["web-1"]
    assert node.output("cat", "/run/socklb/dns-1.pid") == before["dns-1"]


def test_a_dead_server_is_started_again(cluster: Cluster) -> None:
    cluster.node("w2").output("sh", "-c", "kill -9 $(cat /run/socklb/dns-2.pid)")
    assert changes(deploy("cluster")) == ["workload | Servers in the pods"]
    address = cluster.addresses("dns-2")[0]
    assert "dns-2" in cluster.pod("client").output("dig", "+short", f"@{address}", "txt", "whoami.example.test")


def test_a_deleted_pod_is_made_again_and_its_slices_get_the_next_generation(cluster: Cluster) -> None:
    def generation() -> str:
        return node.output("grep", "-A6", "name: web-ipv4", "/etc/socklb/manifests/endpointslices.yaml")

    node = cluster.node("w1")
    before, address = generation(), cluster.addresses("web-1")[0]
    node.output("pod", "delete", "web-1")
    assert "pods | Pods" in changes(deploy("cluster"))
    assert cluster.addresses("web-1")[0] != address  # host-local hands out the next address
    assert generation() != before


def test_a_dead_node_is_made_again(cluster: Cluster) -> None:
    pid = netns_node.pid("w2")
    assert pid
    os.kill(pid, signal.SIGKILL)
    deploy("cluster")
    assert netns_node.pid("w2") != pid
    url = f"http://{cluster.addresses('web-2')[0]}:8080/"
    assert cluster.pod("client").output("curl", "-s", "--max-time", "5", url) == "web-2"
    assert changes(deploy("cluster")) == []
