"""roles/pods and roles/workload, where no kubelet runs."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from pyinfra.api.host import Host
from testinfra.host import Host as Node

from roles.workload import MANIFESTS

pytestmark = pytest.mark.group("nodes", but="kubernetes")


def pods(node: Node) -> dict[str, Any]:
    return {pod["name"]: pod for pod in json.loads(node.check_output("pod list --json"))}


def manifests(node: Node) -> list[Any]:
    """What the workload role wrote; labs and tests may have put files of their own beside it."""
    names = ("services.yaml", "nodes.yaml", "endpointslices.yaml")
    text = node.check_output(" ".join(["cat", *(f"{MANIFESTS}/{name}" for name in names)]))
    return [document for document in yaml.safe_load_all(text) if document]


def test_the_nodes_pods_are_there_with_addresses_of_its_own_ranges(node: Node, machine: Host) -> None:
    found = pods(node)
    assert set(machine.data.pods) <= set(found)
    for pod in found.values():
        pairs = zip(pod["addresses"], machine.data.pod_cidrs, strict=True)
        assert all(ip_address(address) in ip_network(cidr) for address, cidr in pairs)


def test_every_server_answers_in_its_pod(node: Node, machine: Host) -> None:
    for pod, kind in machine.data.pods.items():
        if kind == "web":
            assert node.check_output(f"pod exec {pod} -- curl -s --max-time 5 http://[::1]:8080/") == pod
        if kind == "dns":
            asked = f"pod exec {pod} -- dig +short @127.0.0.1 txt whoami.example.test"
            assert node.check_output(asked) == f'"{pod}"'


def test_the_manifests_announce_services_nodes_and_where_the_pods_are(node: Node, machine: Host) -> None:
    kinds = [document["kind"] for document in manifests(node)]
    assert kinds.count("Service") == len(machine.data.services)
    assert kinds.count("Node") == len(machine.inventory.get_group("nodes"))
    assert kinds.count("EndpointSlice") == 2 * len(machine.data.services)


def test_the_slices_name_this_nodes_pods_with_their_addresses(node: Node, machine: Host) -> None:
    announced = {
        (endpoint["targetRef"]["name"], address)
        for document in manifests(node)
        if document["kind"] == "EndpointSlice"
        for endpoint in document["endpoints"]
        for address in endpoint["addresses"]
    }
    serving = [pod for pod, kind in machine.data.pods.items() if kind != "client"]
    assert {(pod, address) for pod in serving for address in pods(node)[pod]["addresses"]} <= announced
