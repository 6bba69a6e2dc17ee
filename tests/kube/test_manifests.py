"""deploys/kubernetes as an API server reads it: every field is one that it knows, and nothing is left out."""

import pytest

from rig.control_plane import ControlPlane
from tests.support.cluster import ROOT


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
