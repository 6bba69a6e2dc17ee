"""Whose a cgroup is, in the words of each runtime and cgroup driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from socklb.sockets import pods
from socklb.sockets.pods import Pod, Pods

UID = "6a4e2c1e-1f5c-4f0e-9d0b-3f0f4a1c2b3d"
HASH = "0123456789abcdef0123456789abcdef"
CONTAINER = "c" * 64
UNDERSCORED = UID.replace("-", "_")


@pytest.mark.parametrize(
    ("path", "uid", "container"),
    [
        (f"/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/cri-containerd-{CONTAINER}.scope", UID, CONTAINER),
        (
            f"/kubepods.slice/kubepods-burstable-pod{UNDERSCORED}.slice/crio-{CONTAINER}.scope",
            UID,
            CONTAINER,
        ),
        (f"/kubepods/besteffort/pod{UID}/{CONTAINER}", UID, CONTAINER),
        (
            f"/kubelet.slice/kubelet-kubepods-pod{HASH}.slice/crio-{CONTAINER}.scope/init",
            HASH,
            CONTAINER,
        ),
        (f"/kubepods/pod{UID}", UID, ""),
        ("/system.slice/podman.service", "", ""),
        ("/pods/web-1", "", ""),
        ("/", "", ""),
    ],
)
def test_a_path_names_pod_and_container(tmp_path: Path, path: str, uid: str, container: str) -> None:
    found = Pods(tmp_path).of_path(path)
    assert (found.cgroup, found.uid, found.container) == (path, uid, container)


def test_the_kubelets_folders_name_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    (logs / f"shop_web-7d9f_{UID}").mkdir(parents=True)
    (logs / "something").mkdir()
    monkeypatch.setattr(pods, "LOGS", (tmp_path / "missing", logs))
    cgroup = tmp_path / "node" / f"pod{UID}"
    cgroup.mkdir(parents=True)
    found = Pods(tmp_path / "node")
    assert found.by_cgroup(cgroup.stat().st_ino) == Pod(f"/pod{UID}", UID, "", "shop/web-7d9f")
    assert found.by_cgroup(1) is None
    assert found.of_path("/pod-of-nobody").text == "/pod-of-nobody"
