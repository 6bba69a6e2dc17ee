"""The recipes of images/ agree with one another: a version stands in several of them."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import socklb

IMAGES = Path(__file__).parents[3] / "images"
RECIPE: dict[str, Any] = tomllib.loads((IMAGES / "images.toml").read_text())


def name_of(variable: str) -> str:
    """What names.sh sets."""
    script = f'. "{IMAGES}/names.sh"; echo "${variable}"'
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.strip()


def module(folder: str) -> str:
    return (IMAGES / "programs" / folder / "go.mod").read_text()


def required(folder: str, path: str) -> str:
    found = re.search(rf"^(?:require |\t){re.escape(path)} (v\S+)", module(folder), re.MULTILINE)
    assert found, f"{path} is not in go.mod of {folder}"
    return found[1]


@pytest.mark.parametrize("image", ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "node"])
def test_kubernetes_images_have_the_version_of_its_modules(image: str) -> None:
    version = name_of("version")
    assert required("kubernetes", "k8s.io/kubernetes") == version
    assert all(name.endswith(f":{version}") for name in RECIPE[image]["names"])


def test_every_staging_module_is_replaced_by_the_same_release() -> None:
    replaced = re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (\S+)$", module("kubernetes"), re.MULTILINE)
    assert len(replaced) > 20
    assert set(replaced) == {name_of("version").replace("v1.", "v0.")}


def test_etcd_and_coredns_have_the_version_of_their_modules() -> None:
    assert RECIPE["etcd"]["names"] == [
        f"registry.k8s.io/etcd:{required('etcd', 'go.etcd.io/etcd/server/v3').removeprefix('v')}-0"
    ]
    assert RECIPE["coredns"]["names"] == [
        f"registry.k8s.io/coredns/coredns:{required('coredns', 'github.com/coredns/coredns')}"
    ]


def test_etcds_commands_are_of_its_version() -> None:
    version = required("etcd", "go.etcd.io/etcd/server/v3")
    assert {required("etcdctl", f"go.etcd.io/etcd/{name}/v3") for name in ("etcdctl", "etcdutl")} == {version}


def test_the_version_before_is_built_from_modules_of_its_own_and_named_as_its_kubeadm_asks() -> None:
    """Of an upgrade's test: names.sed turns every name of images.toml that has a version into that version's."""
    (folder,) = (IMAGES / "programs").glob("v*")
    assert required(f"{folder.name}/kubernetes", "k8s.io/kubernetes") == folder.name
    etcd = required(f"{folder.name}/etcd", "go.etcd.io/etcd/server/v3")
    sed = ["sed", "-f", str(folder / "names.sed"), str(IMAGES / "images.toml")]
    before: dict[str, Any] = tomllib.loads(subprocess.run(sed, capture_output=True, text=True, check=True).stdout)
    assert before["etcd"]["names"] == [f"registry.k8s.io/etcd:{etcd.removeprefix('v')}-0"]
    for image in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns"):
        assert before[image]["names"] != RECIPE[image]["names"]
    assert before["kube-apiserver"]["names"] == [f"registry.k8s.io/kube-apiserver:{folder.name}"]
    assert set(RECIPE["pause"]["names"]) < set(before["pause"]["names"])


def test_helm_knows_the_objects_of_the_clusters_version() -> None:
    minor = name_of("version").removeprefix("v1.").partition(".")[0]
    assert required("helm", "k8s.io/client-go").startswith(f"v0.{minor}.")


def test_the_node_image_and_the_agents_are_called_what_others_call_them() -> None:
    assert RECIPE["node"]["names"] == [name_of("node_image")]
    assert RECIPE["agent"]["names"] == [f"socklb/agent:{socklb.__version__}"]


def test_containerd_knows_the_pause_image_that_the_node_has() -> None:
    settings = (IMAGES / "node/containerd.toml").read_text()
    assert f'sandbox_image = "{RECIPE["pause"]["names"][0]}"' in settings


def test_every_program_that_an_image_holds_is_one_that_is_built() -> None:
    known = (IMAGES / "programs.sh").read_text()
    for image in RECIPE.values():
        for program in image.get("files", {}):
            assert re.search(rf"^programs=.*\b{program}\b", known, re.MULTILINE), program


@pytest.mark.parametrize("name", ["node", "tools", "agent", "machine"])  # agent: by debian.py, the others by root.sh
def test_every_root_has_a_list_of_packages(name: str) -> None:
    lines = (IMAGES / name / "packages.txt").read_text().splitlines()
    packages = [line.partition("#")[0].strip() for line in lines]
    assert "python3" in packages
    assert all(re.fullmatch(r"[a-z0-9.+-]*", package) for package in packages)


def test_the_offline_folder_has_whatever_package_a_role_installs() -> None:
    listed = (IMAGES / "machine/offline.txt").read_text() + (IMAGES / "machine/packages.txt").read_text()
    there = {line.partition("#")[0].strip() for line in listed.splitlines()}
    for role in ("agent", "base", "pods"):
        text = (IMAGES.parent / "roles" / role / "__init__.py").read_text()
        (said,) = re.findall(r"^PACKAGES = (\{.*?\n?\})$", text, re.MULTILINE | re.DOTALL)
        assert set(re.findall(r': "([a-z0-9-]+)"', said)) <= there, role
