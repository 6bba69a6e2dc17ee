"""roles/kubernetes and roles/kubectl: what the cluster's answers mean."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import roles
from inventory import hosts
from roles.agent.operations import kubeconfig
from roles.kubectl import UPGRADING, Nodes
from roles.kubernetes.facts import Account, AgentAccount, Translated
from roles.pods.facts import OtherNetworks
from roles.pods.operations import conflist
from roles.templates import render

CONTROL_PLANE: dict[str, Any] = {
    "metadata": {"name": "cp", "annotations": {UPGRADING: "true"}},
    "spec": {
        "unschedulable": True,
        "podCIDRs": ["10.244.0.0/24"],
        "taints": [{"key": "node-role.kubernetes.io/control-plane"}],
    },
    "status": {
        "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}, {"type": "Hostname", "address": "cp"}],
        "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1.34.4"},
    },
}
NEW: dict[str, Any] = {"metadata": {"name": "w1"}, "spec": {}, "status": {}}


def test_nodes_are_read_whatever_they_have_yet() -> None:
    assert Nodes().process([json.dumps({"items": [CONTROL_PLANE, NEW]})]) == {
        "cp": {
            "addresses": ["172.18.0.2"],
            "pod_cidrs": ["10.244.0.0/24"],
            "tainted": True,
            "kubelet": "v1.34.4",
            "ready": True,
            "cordoned": True,
            "upgrading": True,
        },
        "w1": {
            "addresses": [],
            "pod_cidrs": [],
            "tainted": False,
            "kubelet": "",
            "ready": False,
            "cordoned": False,
            "upgrading": False,
        },
    }


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ([], None),
        (['{"data": {"ca.crt": "Q0E="}}'], None),
        (['{"data": {"ca.crt": "Q0E=", "token": "and0"}}'], Account("jwt", "CA")),
    ],
    ids=["no Secret", "not filled in yet", "there"],
)
def test_the_agents_account_is_there_when_its_token_is(secret: list[str], found: Account | None) -> None:
    assert AgentAccount().process(secret) == found


@pytest.mark.parametrize(
    ("address", "server"), [("172.18.0.2", "https://172.18.0.2:6443"), ("fd00::2", "https://[fd00::2]:6443")]
)
def test_the_kubeconfig_names_the_control_plane_by_address(address: str, server: str) -> None:
    written = yaml.safe_load(kubeconfig(address, Account("jwt", "CA")))
    assert written["clusters"][0]["cluster"] == {"server": server, "certificate-authority-data": "Q0E="}
    assert written["users"][0]["user"] == {"token": "jwt"}


def test_the_network_plugin_of_somebody_else_is_seen_and_ours_is_not() -> None:
    listed = ["10-kindnet.conflist", "10-socklb.conflist", ".10-socklb.conflist.new", "README"]
    assert OtherNetworks().process(listed) == ["10-kindnet.conflist"]


def test_pods_of_a_kubelet_are_not_masqueraded_and_find_a_way_out_in_both_families() -> None:
    (plugin,) = json.loads(conflist(["10.244.1.0/24", "fd00:10:244:1::/64"]))["plugins"]
    assert (plugin["type"], plugin["ipMasq"]) == ("ptp", False)
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]
    assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_a_translated_connection_is_told_as_its_client_asked() -> None:
    line = (
        "tcp      6 86399 ESTABLISHED src=10.244.1.2 dst=10.96.0.80 sport=41000 dport=80 "
        "src=10.244.2.3 dst=10.244.1.2 sport=8080 dport=41000 [ASSURED] mark=0 use=1"
    )
    assert Translated().process([line]) == ["10.244.1.2:41000 -> 10.96.0.80:80"]


def test_the_workload_is_yaml_and_stands_for_the_same_services_as_elsewhere() -> None:
    data = hosts.load(hosts.path("kind")).get_group("nodes")[0].data
    text = render(
        Path(roles.__file__).parent / "workload",
        "kubernetes.yaml",
        configs={"web": "a: b\n# c\n"},
        servers={"web": {"replicas": 3, "port": 8080, "command": "run 'it'", "digest": "00"}},
        image=data.tools_image,
    )
    kinds = [(document["kind"], document["metadata"]["name"]) for document in yaml.safe_load_all(text)]
    assert kinds == [("ConfigMap", "workload"), ("Deployment", "web"), ("DaemonSet", "client")]
    assert data.services.keys() == hosts.load(hosts.path("local")).get_group("nodes")[0].data.services.keys()
