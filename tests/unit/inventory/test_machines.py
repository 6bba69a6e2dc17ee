"""inventory/machines: settings of machines over SSH, and what is refused before any of them is reached."""

from pathlib import Path
from typing import Any

import pytest

from inventory.machines import groups, machine
from inventory.machines.checks import SettingsError

CP = machine("cp", "192.0.2.10", "2001:db8::10")
W1 = machine("w1", "192.0.2.11", "2001:db8::11")
THREE = [CP, machine("cp2", "192.0.2.21", "2001:db8::21"), machine("cp3", "192.0.2.22", "2001:db8::22")]


def data(**settings: Any) -> dict[str, Any]:
    _, workers, *_ = groups([CP], [W1], **settings)
    return workers[0][1]


def test_each_machine_is_in_the_groups_of_its_part_and_of_all_nodes_of_kubernetes() -> None:
    control_plane, workers, nodes, kubernetes, machines = groups([CP], [W1])
    assert [name for name, _ in control_plane] == ["@machine/cp"]
    assert [name for name, _ in workers] == ["@machine/w1"]
    assert nodes == kubernetes == machines == control_plane + workers


def test_a_machines_own_settings_win_and_its_first_address_is_the_way_to_it() -> None:
    own = machine("w1", "192.0.2.11", "2001:db8::11", ssh_port=2222, ssh_hostname="w1.example.com")
    _, workers, *_ = groups([CP], [own], ssh_user="admin", ssh_port=2022)
    assert (workers[0][1]["ssh_hostname"], workers[0][1]["ssh_port"]) == ("w1.example.com", 2222)
    assert workers[0][1]["ssh_user"] == "admin"
    assert data()["ssh_hostname"] == "192.0.2.11"


def test_a_slice_for_what_is_to_run_unhooked_is_left_out_by_the_agent() -> None:
    assert data()["bypass_cgroups"] == []
    assert data(unhooked_slice=True)["bypass_cgroups"] == ["unhooked.slice"]


def test_sudo_and_files_of_a_home_are_said_as_pyinfra_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id").touch()
    found = data(sudo=True, ssh_key="~/.ssh/id", sudo_password="secret")
    assert found["_sudo"] is True
    assert found["_sudo_password"] == "secret"
    assert found["ssh_key"] == str(tmp_path / ".ssh/id")
    assert "_sudo" not in data()


def test_the_api_is_asked_at_the_control_planes_first_address_if_nobody_says_another() -> None:
    assert data()["api_endpoint"] == "192.0.2.10:6443"
    assert data(api_endpoint="api.example.com:6443")["api_endpoint"] == "api.example.com:6443"


def test_several_control_planes_have_an_address_that_is_no_machines() -> None:
    control_plane, workers, nodes, *_ = groups(THREE, [W1], virtual_address="192.0.2.9")
    assert (len(control_plane), len(workers), len(nodes)) == (3, 1, 4)
    assert {own["api_endpoint"] for _, own in nodes} == {"192.0.2.9:6443"}
    own = groups(THREE, api_endpoint="api.example.com:6443")[0][0][1]
    assert (own["api_endpoint"], own["virtual_address"]) == ("api.example.com:6443", None)


@pytest.mark.parametrize(
    ("control_plane", "settings", "said"),
    [
        (THREE[:2], {}, "control_plane has 2 machines. Valid: 1, 3 or 5: etcd can lose none, one or two"),
        (
            THREE,
            {},
            'control_plane has 3 machines, and the API no address of its own. Next: virtual_address="192.0.2.9"',
        ),
        (
            THREE,
            {"virtual_address": "192.0.2.21"},
            "virtual_address = '192.0.2.21' is cp2's. Next: one that nobody has",
        ),
        (THREE, {"virtual_address": "api"}, "virtual_address: 'api' is no IP address"),
        (
            [machine("cp", "192.0.2.10")],
            {"virtual_address": "2001:db8::9", "pod_cidrs": ["10.1.0.0/16"], "service_cidrs": ["10.2.0.0/16"]},
            "virtual_address = '2001:db8::9': cp has no IPv6 address",
        ),
    ],
)
def test_an_api_that_would_be_lost_with_one_machine_is_refused(
    control_plane: list[Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        groups(control_plane, **settings)
    assert str(raised.value).startswith(said)


def test_the_workloads_service_has_an_address_of_the_clusters_own_networks() -> None:
    assert data()["services"]["web"]["addresses"] == ["10.96.0.80", "fd00:10:96::80"]
    assert data(service_cidrs=["10.0.0.0/16", "fd01::/112"])["services"]["web"]["addresses"] == [
        "10.0.0.80",
        "fd01::80",
    ]


ONLY_IPV6 = machine("w6", "2001:db8::16")


@pytest.mark.parametrize(
    ("workers", "settings", "said"),
    [
        ([W1, W1], {}, "w1 is there twice. Next: give each machine its own host name"),
        ([machine("w1", "192.0.2.10", "2001:db8::11")], {}, "w1 and cp have the same address 192.0.2.10"),
        ([machine("w1", "192.0.2.11", "2001:DB8:0::10")], {}, "w1 and cp have the same address 2001:db8::10"),
        ([machine("w1")], {}, 'w1 has no address. Next: machine("w1", "192.0.2.10")'),
        ([machine("w1", "192.0.2.300")], {}, "w1: '192.0.2.300' is no IP address. Valid: 192.0.2.10, 2001:db8::10"),
        ([machine("W_1", "192.0.2.11")], {}, "'W_1' cannot be the name of a Node"),
        ([ONLY_IPV6], {}, "w6 has no IPv4 address, and pods and Services have. Next: give it one, or leave the IPv4"),
        ([machine("w1", "192.0.2.11")], {}, "w1 has no IPv6 address"),
        (
            [],
            {"pod_cidrs": ["10.96.0.0/12", "fd00::/56"]},
            "pod_cidrs 10.96.0.0/12 and service_cidrs 10.96.0.0/16 overlap",
        ),
        ([], {"pod_cidrs": ["192.0.2.0/24", "fd00::/56"]}, "cp has the address 192.0.2.10 in pod_cidrs 192.0.2.0/24"),
        ([], {"pod_cidrs": ["10.244.0.1/16"]}, "pod_cidrs: 10.244.0.1/16 has host bits set. Valid: 10.244.0.0/16"),
        ([], {"pod_cidrs": ["10.244.0.0/16"]}, "pod_cidrs and service_cidrs differ in their families"),
        (
            [],
            {"pod_cidrs": ["10.1.0.0/16", "10.2.0.0/16"]},
            "it takes one network of IPv4, one of IPv6, or one of each",
        ),
        ([], {"pod_cidr": ["10.1.0.0/16"]}, "pod_cidr: no such setting. Valid: api_endpoint, "),
        ([machine("w1", "192.0.2.11", pod_cidrs=[])], {}, "w1: pod_cidrs: no setting of one machine. Valid: lowers"),
        (
            [],
            {"source": "/nowhere"},
            "source = '/nowhere': no folder with SHA256SUMS. Valid: 'kubernetes', 'distribution'",
        ),
        ([], {"kubernetes_version": "v1.34"}, "kubernetes_version = 'v1.34'. Valid: '1.34', '1.34.4'"),
        ([], {"ssh_key": "/nowhere/id"}, "ssh_key = '/nowhere/id': no such file"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_remedy(workers: list[Any], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        groups([CP], workers, **settings)
    assert str(raised.value).startswith(said) or said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_family_alone_is_a_cluster_too() -> None:
    only = {"pod_cidrs": ["fd00:10:244::/56"], "service_cidrs": ["fd00:10:96::/112"]}
    control_plane, *_ = groups([machine("cp", "2001:db8::10")], **only)
    assert control_plane[0][1]["api_endpoint"] == "[2001:db8::10]:6443"


def test_a_folder_with_checksums_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").touch()
    assert data(source=str(tmp_path))["source"] == str(tmp_path)
