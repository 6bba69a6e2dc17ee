"""What the roles compute and render before they touch a node."""

import json
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml
from pyinfra.api.inventory import Inventory

import roles
from inventory import hosts
from roles.node import pod_routes
from roles.pods import cni_config
from roles.templates import render

ROLES = Path(roles.__file__).parent
HEADINGS = ["## Purpose", "## Data", "## What it changes", "## How to check", "## How to remove"]


@pytest.fixture
def inventory() -> Inventory:
    return hosts.load(hosts.path("local"))


@pytest.mark.parametrize("role", sorted(path.parent.name for path in ROLES.glob("*/__init__.py")))
def test_every_role_has_a_readme_with_the_same_headings(role: str) -> None:
    lines = (ROLES / role / "README.md").read_text().splitlines()
    assert lines[0] == f"# {role}"
    assert [line for line in lines if line.startswith("## ")] == HEADINGS


def test_a_node_routes_to_the_other_nodes_pods_by_address_of_the_same_family(inventory: Inventory) -> None:
    nodes = inventory.get_group("nodes")
    assert pod_routes(nodes[1], nodes) == {
        "10.244.0.0/24": "172.18.0.2",
        "fd00:10:244::/64": "fd00:172:18::2",
        "10.244.2.0/24": "172.18.0.4",
        "fd00:10:244:2::/64": "fd00:172:18::4",
    }


def test_pods_are_not_masqueraded() -> None:
    config = json.loads(cni_config(["10.244.1.0/24", "fd00:10:244:1::/64"]))
    assert (config["type"], config["ipMasq"], config["isDefaultGateway"]) == ("bridge", False, True)
    assert config["hairpinMode"], "with br_netfilter a pod's packet to itself goes back to the port that it came from"
    assert config["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]


def test_pods_behind_a_tunnel_have_its_mtu() -> None:
    assert json.loads(cni_config(["10.244.1.0/24"], mtu=1472))["mtu"] == 1472
    assert "mtu" not in json.loads(cni_config(["10.244.1.0/24"])), "the network's own"


def test_services_are_yaml_with_addresses_of_both_families(inventory: Inventory) -> None:
    services = inventory.get_group("nodes")[0].data.services
    documents = {
        document["metadata"]["name"]: document["spec"]
        for document in yaml.safe_load_all(render(ROLES / "workload", "services.yaml", services=services))
    }
    assert documents["web"]["type"] == "NodePort"
    assert documents["web"]["clusterIPs"] == ["10.96.0.10", "fd00:10:96::a"]
    assert documents["web"]["ports"] == services["web"]["ports"]
    assert documents["dns"]["type"] == "ClusterIP"
    assert [port["protocol"] for port in documents["dns"]["ports"]] == ["UDP", "TCP"]


def test_the_agents_configuration_is_toml() -> None:
    source = {"kubeconfig": "/etc/socklb/kubeconfig", "node_routes": True}
    ways = dict.fromkeys(("packet_path", "pod_sockets", "bypass_pods"), True)
    ways |= {"host_routing": False, "bypass_cgroups": ["pods/client"]}
    values = {"source": source, "pod_cidrs": ["10.244.0.0/16"], "external_ips": [], **ways}
    found = tomllib.loads(render(ROLES / "agent", "socklb.toml", node="w1", **values))
    assert (found["node"], found["pod_cidrs"]) == ("w1", ["10.244.0.0/16"])
    assert found | source | ways == found


def test_a_missing_variable_is_an_error_that_names_it() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'node' is undefined"):
        render(ROLES / "agent", "socklb.toml", source={})
