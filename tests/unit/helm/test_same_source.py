"""The chart makes what the folders of kustomize make, object by object and field by field."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import socklb
from socklb.config import Config, load
from tests.support.helm import CHART, SERVERS, helm, rendered, text_of
from tests.support.kustomize import alike, kustomized

PLACEHOLDER = "<control-plane>"
MONITORING: dict[str, Any] = {
    **SERVERS,
    "metricsAddress": "[::]:10249",
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
}


@pytest.fixture(autouse=True)
def in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "worker-1")


def test_default_values_make_what_deploys_kubernetes_makes(tmp_path: Path) -> None:
    ours, theirs = alike(rendered(SERVERS)), alike(kustomized("deploys/kubernetes"))
    text = configuration(theirs).replace(PLACEHOLDER, "192.0.2.10")
    assert read(configuration(ours), tmp_path) == read(text, tmp_path)
    configmap = ("ConfigMap", "socklb")
    ours[configmap]["data"] = theirs[configmap]["data"] = {}
    assert ours == theirs
    assert len(ours) == 5


def configuration(objects: dict[tuple[str, str], Any]) -> str:
    return str(objects["ConfigMap", "socklb"]["data"]["socklb.toml"])


def read(text: str, folder: Path) -> Config:
    file = folder / "socklb.toml"
    file.write_text(text)
    return load(file)


def test_the_objects_of_monitoring_are_those_of_deploys_monitoring() -> None:
    ours, theirs = alike(rendered(MONITORING)), alike(kustomized("deploys/monitoring"))
    assert {name for name in ours if name not in alike(rendered(SERVERS))} == set(theirs)
    for name, one in theirs.items():
        assert ours[name]["metadata"]["labels"].pop("app.kubernetes.io/version") == socklb.__version__
        assert ours[name] == one


def test_cleanup_after_uninstalling_is_that_of_deploys_kubernetes_cleanup() -> None:
    ours = alike(rendered({**SERVERS, "cleanupOnUninstall": True}))
    theirs = alike(kustomized("deploys/kubernetes/cleanup"))
    assert {name: ours[name] for name in theirs} == theirs


def test_a_packaged_chart_makes_the_same_as_the_folder(tmp_path: Path) -> None:
    """The files behind the links are in it."""
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    package = tmp_path / f"socklb-{socklb.__version__}.tgz"
    made = helm("template", "socklb", package, "--namespace", "kube-system", values=MONITORING)
    assert made.stdout == text_of(MONITORING)


def test_the_chart_has_the_version_of_the_agent() -> None:
    said = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {said["version"], said["appVersion"]} == {socklb.__version__}


class Relabeling(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    source_labels: list[str]
    target_label: str


class Endpoint(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    port_number: int
    interval: str
    relabelings: list[Relabeling]


class Selector(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    match_labels: dict[str, str]


class PodMonitor(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    selector: Selector
    pod_metrics_endpoints: list[Endpoint]


class Alert(msgspec.Struct, forbid_unknown_fields=True):
    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    for_: str | None = msgspec.field(default=None, name="for")


class Group(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rules: list[Alert]


class PrometheusRule(msgspec.Struct, forbid_unknown_fields=True):
    groups: list[Group]


@pytest.mark.parametrize("kind", [PodMonitor, PrometheusRule])
def test_the_prometheus_operator_knows_every_field(kind: type[PodMonitor | PrometheusRule]) -> None:
    """As its monitoring.coreos.com/v1 has them; an API server of the tests knows only Kubernetes' own kinds."""
    one = rendered(MONITORING)[kind.__name__, "socklb"]
    assert one["apiVersion"] == "monitoring.coreos.com/v1"
    msgspec.convert(one["spec"], kind)
