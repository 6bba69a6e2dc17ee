"""deploys/kubernetes: what must agree in files that nothing but a person keeps together."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import socklb
from socklb.config import load
from socklb.errors import SocklbError

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploys/kubernetes"


def document(path: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / path).read_text())


def pod(path: str) -> dict[str, Any]:
    return document(path)["spec"]["template"]["spec"]


@pytest.fixture(autouse=True)
def in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "worker-1")


def test_as_it_stands_an_agent_ends_at_once_and_says_why() -> None:
    """An address that looks right is somebody's: the pod would wait for it for an hour."""
    with pytest.raises(SocklbError, match=r"'https://<control-plane>:6443' is not like .* at `\$.api_servers`"):
        load(KUBERNETES / "socklb.toml")


def test_the_rest_of_the_configuration_is_right(tmp_path: Path) -> None:
    file = tmp_path / "socklb.toml"
    file.write_text((KUBERNETES / "socklb.toml").read_text().replace("<control-plane>", "192.0.2.10"))
    config = load(file)
    mounts = {mount["mountPath"] for mount in pod("daemonset.yaml")["containers"][0]["volumeMounts"]}
    assert {config.bpffs, config.cgroup, str(Path(config.socket).parent)} <= mounts
    (port,) = pod("daemonset.yaml")["containers"][0]["ports"]
    assert config.health_address.endswith(f":{port['containerPort']}")


def test_cleanup_finds_what_the_agent_left() -> None:
    config = load(KUBERNETES / "cleanup/socklb.toml")
    (cleanup,) = pod("cleanup/daemonset.yaml")["initContainers"]
    agent = pod("daemonset.yaml")["containers"][0]
    assert cleanup["args"] == ["cleanup"]
    assert config.node_routes
    assert config.packet_path
    assert (config.bpffs, config.cgroup) == ("/host/bpf", "/host/cgroup")
    assert {m["mountPath"] for m in cleanup["volumeMounts"]} == {m["mountPath"] for m in agent["volumeMounts"]}
    assert {*cleanup["securityContext"]["capabilities"]["add"]} < {*agent["securityContext"]["capabilities"]["add"]}
    hosts = [{v["name"]: v["hostPath"]["path"] for v in pod(p)["volumes"] if "hostPath" in v} for p in DAEMONSETS]
    assert hosts[0] == hosts[1]


DAEMONSETS = ("daemonset.yaml", "cleanup/daemonset.yaml")


@pytest.mark.parametrize("folder", ["", "cleanup/"])
def test_labels_and_tag_name_the_version_and_the_selector_does_not(folder: str) -> None:
    kustomization = document(f"{folder}kustomization.yaml")
    (labels,) = kustomization["labels"]
    assert labels["pairs"]["app.kubernetes.io/version"] == socklb.__version__
    assert labels["includeTemplates"]
    assert not labels.get("includeSelectors")  # a selector cannot be changed by an upgrade
    assert kustomization["images"] == [{"name": "socklb/agent", "newTag": socklb.__version__}]


@pytest.mark.parametrize(("path", "kind"), [(DAEMONSETS[0], "containers"), (DAEMONSETS[1], "initContainers")])
def test_a_container_can_write_nowhere_but_to_the_node_and_is_given_no_more_than_it_names(path: str, kind: str) -> None:
    (container,) = pod(path)[kind]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert "privileged" not in container["securityContext"]
    assert not [volume for volume in pod(path)["volumes"] if "emptyDir" in volume]
