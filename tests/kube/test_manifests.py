"""deploys/kubernetes and the chart as an API server reads them: it knows every field, and nothing is left out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rig.control_plane import ControlPlane
from tests.support.cluster import ROOT
from tests.support.helm import SERVERS, rendered

OPERATORS = {"PodMonitor", "PrometheusRule"}  # kinds that it does not know: tests/unit/helm/test_same_source.py
EVERYTHING: dict[str, Any] = {
    "cleanupOnUninstall": True,
    "bypassPods": True,
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "metricsAddress": "[::]:10249",
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"example.com/owner": "networks"},
    "resources": {"requests": {"cpu": "100m"}},
}


@pytest.mark.parametrize(
    ("folder", "objects"),
    [
        (
            "deploys/kubernetes",
            {
                "serviceaccount/socklb",
                "clusterrole.rbac.authorization.k8s.io/socklb",
                "clusterrolebinding.rbac.authorization.k8s.io/socklb",
                "configmap/socklb-HASH",
                "daemonset.apps/socklb",
            },
        ),
        ("deploys/kubernetes/cleanup", {"configmap/socklb-cleanup-HASH", "daemonset.apps/socklb-cleanup"}),
    ],
)
def test_an_api_server_takes_every_object(plane: ControlPlane, folder: str, objects: set[str]) -> None:
    said = plane.kubectl(
        "apply", "-k", str(ROOT / folder), "--dry-run=server", "--validate=strict", "--output", "name"
    ).split()
    assert {name[:-10] + "HASH" if "configmap" in name else name for name in said} == objects


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"size": "large", "cleanupOnUninstall": True, "priorityClassName": "", "tolerations": []},
        {"kubeProxyReplacement": False, "capabilities": ["SYS_ADMIN", "NET_ADMIN"]},
        EVERYTHING,
    ],
    ids=["default", "large", "beside a kube-proxy", "everything"],
)
def test_an_api_server_takes_whatever_the_chart_makes(
    plane: ControlPlane, values: dict[str, Any], tmp_path: Path
) -> None:
    known = {name: one for name, one in rendered({**SERVERS, **values}).items() if name[0] not in OPERATORS}
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(known.values()))
    said = plane.kubectl("apply", "-f", str(file), "--dry-run=server", "--validate=strict", "--output", "name").split()
    assert sorted(said) == sorted(f"{resource(kind)}/{name}" for kind, name in known)


def resource(kind: str) -> str:
    """As kubectl names what it applied."""
    groups = {"DaemonSet": ".apps", "Job": ".batch"}
    rights = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    return kind.lower() + groups.get(kind, ".rbac.authorization.k8s.io" if kind in rights else "")
