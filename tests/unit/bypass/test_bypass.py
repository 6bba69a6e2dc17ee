"""Which Pods are left out, and in which cgroups they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from socklb.api.decode import read_object
from socklb.api.kinds import API_KINDS
from socklb.api.marks import BYPASS, CONFIG_HASH
from socklb.api.objects import Namespace, Pod
from socklb.bypass.labels import BY_NAMESPACE, BY_POD, Labelled, labelled
from socklb.bypass.places import Place, by_ids, matching, of_pods, place_of

UID, HASH = "5f1c4b1e-6f0a-4c3e-9a52-0b9a3d1f2c77", "b1946ac92492d2347c6235b4d2611184"
CONTAINER = "c" * 64


def pod(label: str | None = None, phase: str = "Running", **annotations: str) -> Pod:
    labels = {} if label is None else {BYPASS: label}
    metadata = {"name": "web-0", "namespace": "shop", "uid": UID, "labels": labels, "annotations": annotations}
    found = read({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}})
    assert isinstance(found, Pod)
    return found


def read(raw: dict[str, Any]) -> object:
    return read_object(raw, API_KINDS)


def namespace(label: str) -> dict[str, Namespace]:
    found = read({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {BYPASS: label}}})
    assert isinstance(found, Namespace)
    return {"shop": found}


@pytest.mark.parametrize(
    ("own", "of_namespace", "why"),
    [
        (None, None, ""),
        ("true", None, BY_POD),
        (None, "true", BY_NAMESPACE),
        ("true", "true", BY_POD),
        ("false", "true", ""),
        ("yes", None, ""),
        (None, "yes", ""),
    ],
)
def test_a_pods_own_label_counts_first_and_else_its_namespaces(
    own: str | None, of_namespace: str | None, why: str
) -> None:
    found = labelled([pod(own)], namespace(of_namespace) if of_namespace else {})
    assert found == ({UID: Labelled("shop/web-0", why, runs=True)} if why else {})


def test_a_pod_of_another_namespace_is_none_of_its() -> None:
    assert labelled([pod()], {"another": namespace("true")["shop"]}) == {}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_has_no_cgroup_to_look_for(phase: str) -> None:
    assert labelled([pod("true", phase)], {}) == {}


def test_a_pod_that_is_not_said_to_run_yet_is_left_out_as_soon_as_it_can_be() -> None:
    assert labelled([pod("true", "Pending")], {}) == {UID: Labelled("shop/web-0", BY_POD, runs=False)}


def test_a_kubelets_own_pod_has_its_cgroup_by_the_hash_of_its_file() -> None:
    assert list(labelled([pod("true", **{CONFIG_HASH: HASH})], {})) == [HASH]


def test_a_folder_of_manifests_says_no_pods() -> None:
    assert read_object({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}}) is None


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Folders as a node has cgroups, with those of the systemd and of the cgroupfs driver."""
    flat, other = UID.replace("-", "_"), "0" * 8 + UID[8:]
    for path in (
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{flat}.slice/cri-containerd-{CONTAINER}.scope",
        f"kubepods/besteffort/pod{other}/{CONTAINER}/init.scope",
        f"kubepods/burstable/pod{HASH}",
        "system.slice/proxy-1.service",
        "system.slice/proxy-2.service",
        "system.slice/ssh.service",
    ):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "system.slice" / "proxy-3.service").touch()
    return tmp_path


def test_a_pods_cgroup_is_found_by_either_driver_and_not_a_containers(node: Path) -> None:
    other = "0" * 8 + UID[8:]
    found = of_pods(node, {UID, other, HASH, "none"})
    assert {uid: place.path for uid, place in found.items()} == {
        UID: f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice",
        other: f"/kubepods/besteffort/pod{other}",
        HASH: f"/kubepods/burstable/pod{HASH}",
    }
    assert all(place.id == (node / place.path[1:]).stat().st_ino for place in found.values())
    assert of_pods(node, set()) == {}


def test_a_pattern_names_cgroups_and_no_files(node: Path) -> None:
    def named(pattern: str) -> list[str]:
        return sorted(place.path for place in matching(node, pattern))

    proxies = ["/system.slice/proxy-1.service", "/system.slice/proxy-2.service"]
    assert named("system.slice/proxy-*.service") == named("/system.slice/proxy-?.service/") == proxies
    assert named("*/proxy-[1].service") == proxies[:1]
    assert named("system.slice") == ["/system.slice"]
    assert named("*.service") == []


def test_a_cgroup_is_found_by_its_id_and_when_it_is_gone_it_is_not(node: Path) -> None:
    place = place_of(node, "/system.slice/ssh.service")
    assert place is not None
    assert place == Place((node / "system.slice/ssh.service").stat().st_ino, "/system.slice/ssh.service")
    assert by_ids(node, {place.id, 1}) == {place.id: place}
    (node / "system.slice/ssh.service").rmdir()
    assert place_of(node, place.path) is None
    assert by_ids(node, {place.id}) == {}
