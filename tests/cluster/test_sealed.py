"""The local cluster is sealed: no way to the host or beyond, and nothing of the host's is changed."""

import json
import subprocess

import pytest

from inventory.place import Place
from tests.support.cluster import Cluster, HostSettings

PLACES = ["cp", "w1", "w2", "outside"]


@pytest.fixture(params=PLACES)
def node(cluster: Cluster, request: pytest.FixtureRequest) -> Place:
    return cluster.node(request.param)


def host_addresses() -> list[str]:
    """The addresses of this machine that another machine could reach it by."""
    shown = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, text=True, check=True).stdout)
    return [entry["local"] for link in shown for entry in link["addr_info"] if entry["scope"] == "global"]


def test_a_node_has_no_default_route(node: Place) -> None:
    assert node.output("ip", "route", "show", "default") == ""
    assert node.output("ip", "-6", "route", "show", "default") == ""


def test_a_node_has_no_route_to_the_host_or_beyond(node: Place) -> None:
    for address in [*host_addresses(), "192.0.2.77", "198.51.100.1", "2001:db8::1"]:
        done = node.run("ip", "route", "get", address)
        assert done.returncode != 0, f"{address}: {done.stdout}"


def test_the_control_a_node_has_routes_to_the_other_nodes(node: Place) -> None:
    assert "eth0" in node.output("ip", "route", "get", "172.18.0.77")


def test_outside_has_no_route_to_pods(cluster: Cluster) -> None:
    done = cluster.node("outside").run("ip", "route", "get", cluster.addresses("web-1")[0])
    assert done.returncode != 0


def test_a_node_cannot_change_a_sysctl_of_the_host(node: Place) -> None:
    done = node.run("sysctl", "-w", "kernel.panic=7")
    assert done.returncode != 0
    assert node.run("sysctl", "-w", "net.ipv4.ip_default_ttl=64").returncode == 0


@pytest.mark.usefixtures("cluster")
def test_the_hosts_routes_sysctls_and_root_cgroup_are_as_before(host_before: HostSettings) -> None:
    now = HostSettings.now()
    assert now.routes == host_before.routes
    # A module that was loaded meanwhile brings sysctls of its own; none that was there may differ.
    assert {key: now.sysctls.get(key) for key in host_before.sysctls} == host_before.sysctls
    assert now.root_programs == host_before.root_programs


@pytest.mark.usefixtures("cluster")
def test_no_interface_came_to_the_host() -> None:
    shown = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout)
    peers = [link["ifname"] for link in shown if "link_netnsid" in link]
    assert [name for name in peers if name in PLACES or name in ("br0", "cni0")] == []
