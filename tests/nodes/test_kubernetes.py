"""roles/kubernetes, and what the other roles do where a kubelet runs."""

import json
from typing import Any

import pytest
import yaml
from pyinfra.api.host import Host
from testinfra.host import Host as Node

from inventory import hosts
from inventory.testinfra_host import testinfra_host
from roles.agent.facts import KUBECONFIG
from roles.kubectl import KUBECTL, Nodes
from roles.pods.operations import CONFLIST

pytestmark = pytest.mark.group("kubernetes")


def cluster(machine: Host, arguments: str) -> Any:
    control_plane = machine.inventory.get_group("control_plane")[0]
    return json.loads(testinfra_host(control_plane).check_output(f"{KUBECTL} {arguments} -o json"))


def nodes(machine: Host) -> Any:
    return Nodes().process([json.dumps(cluster(machine, "get nodes"))])


def test_its_node_is_ready_and_takes_pods(node: Node, machine: Host) -> None:
    found = cluster(machine, f"get node {hosts.short_name(machine)}")
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert "taints" not in found["spec"]


def test_its_pods_get_addresses_of_the_ranges_that_kubernetes_gave_the_node(node: Node, machine: Host) -> None:
    plugin = json.loads(node.file(CONFLIST).content_string)["plugins"][0]
    ranges = [one["subnet"] for (one,) in plugin["ipam"]["ranges"]]
    assert ranges == nodes(machine)[hosts.short_name(machine)]["pod_cidrs"]
    assert len(ranges) == 2
    assert not plugin["ipMasq"]


def test_it_knows_the_way_to_the_other_nodes_pods(node: Node, machine: Host) -> None:
    shown = node.check_output("ip -4 route") + node.check_output("ip -6 route")
    for name, other in nodes(machine).items():
        for cidr, address in zip(other["pod_cidrs"], other["addresses"], strict=True):
            assert (f"{cidr} via {address} " in shown) == (name != hosts.short_name(machine))


def test_the_agent_asks_the_api_server_by_its_address(node: Node, machine: Host) -> None:
    server = yaml.safe_load(node.file(KUBECONFIG).content_string)["clusters"][0]["cluster"]["server"]
    control_plane = hosts.short_name(machine.inventory.get_group("control_plane")[0])
    assert server == f"https://{nodes(machine)[control_plane]['addresses'][0]}:6443"


def test_no_kube_proxy_runs(node: Node) -> None:
    assert not node.process.filter(comm="kube-proxy")


def test_a_client_pod_runs_here(node: Node, machine: Host) -> None:
    here = cluster(machine, f"get pods --field-selector=spec.nodeName={hosts.short_name(machine)}")["items"]
    assert {pod["metadata"]["labels"]["app"] for pod in here} >= {"client"}
    assert all(pod["status"]["phase"] == "Running" for pod in here)
