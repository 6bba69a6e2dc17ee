"""Helm's release at a real API server, where no node is."""

from rig.control_plane import ADMIN, ControlPlane
from tests.support.cluster import ROOT
from tests.support.helm import CHART, SERVERS, helm

SYSTEM = ("--namespace", "kube-system")


def test_a_release_takes_over_what_kustomize_installed(own_plane: ControlPlane) -> None:
    own_plane.kubectl("apply", "-k", str(ROOT / "deploys/kubernetes"))
    before = named(own_plane, "daemonset,serviceaccount,configmap")
    reach = ("--kubeconfig", own_plane.kubeconfig("admin", ADMIN), *SYSTEM)
    refused = helm("install", "socklb", CHART, *reach, values=SERVERS)
    assert "invalid ownership metadata" in refused.stderr
    done = helm("install", "socklb", CHART, "--take-ownership", *reach, values=SERVERS)
    assert done.returncode == 0, done.stderr
    assert named(own_plane, "daemonset,serviceaccount,configmap") == before | {"configmap/socklb"}
    volumes = own_plane.kubectl("get", "daemonset", "socklb", *SYSTEM, "-o", "jsonpath={..volumes[*].configMap.name}")
    assert volumes == "socklb"
    done = helm("uninstall", "socklb", *reach)
    assert done.returncode == 0, done.stderr
    (left,) = named(own_plane, "daemonset,serviceaccount,configmap")
    assert left.startswith("configmap/socklb-")


def named(plane: ControlPlane, kinds: str) -> set[str]:
    said = plane.kubectl("get", kinds, *SYSTEM, "--output", "name").split()
    return {name.replace("daemonset.apps/", "daemonset/") for name in said if "/socklb" in name}
