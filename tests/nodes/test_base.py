"""roles/base and roles/node."""

import pytest
from pyinfra.api.host import Host
from testinfra.host import Host as Node

from inventory import hosts
from inventory.testinfra_host import testinfra_host
from roles.node import plain_addresses, pod_routes


@pytest.mark.parametrize("package", ["tcpdump", "net-tools", "curl", "iputils-ping"])
def test_tools_to_look_at_the_network_are_installed(node: Node, package: str) -> None:
    assert node.package(package).is_installed


def test_the_machine_goes_by_its_name_in_the_inventory(node: Node, machine: Host) -> None:
    assert node.check_output("hostname") == hosts.short_name(machine)


def test_every_machine_is_known_by_name(node: Node, machine: Host) -> None:
    for other in machine.inventory:
        there = testinfra_host(other).check_output("ip -brief address")
        address = node.check_output(f"getent ahosts {hosts.short_name(other)}").split()[0]
        assert f" {address}/" in there


def test_its_addresses_are_there(node: Node, machine: Host) -> None:
    shown = node.check_output("ip -brief address")
    assert [address for address in machine.data.get("addresses", []) if address not in shown] == []


@pytest.mark.group("nodes")
def test_a_node_forwards(node: Node) -> None:
    assert node.sysctl("net.ipv4.ip_forward") == 1
    assert node.sysctl("net.ipv6.conf.all.forwarding") == 1


@pytest.mark.group("nodes", but="kubernetes")
def test_the_names_are_there_without_a_name_server(node: Node, machine: Host) -> None:
    for other in machine.inventory:
        assert set(node.file("/etc/hosts").content_string.splitlines()) >= {
            f"{address} {hosts.short_name(other)} # socklb" for address in plain_addresses(other)
        }


@pytest.mark.group("nodes", but="kubernetes")
def test_a_node_knows_the_way_to_the_other_nodes_pods(node: Node, machine: Host) -> None:
    shown = node.check_output("ip -4 route") + node.check_output("ip -6 route")
    for destination, gateway in pod_routes(machine, machine.inventory.get_group("nodes")).items():
        assert f"{destination} via {gateway} " in shown
