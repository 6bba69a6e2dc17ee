"""`socklb check --all-nodes` at an API server whose nodes do not answer: each is in the table, with what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from rig.control_plane import ControlPlane
from rig.objects import NODES, node

PODS = "/api/v1/namespaces/kube-system/pods"
LABELS = {"app.kubernetes.io/name": "socklb"}
RUNNING = {"name": "agent", "image": "x", "imageID": "x", "restartCount": 0, "ready": True, "state": {"running": {}}}


def check(plane: ControlPlane, kubeconfig: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "socklb", "check", "--all-nodes", *more],
        env=os.environ | {"KUBECONFIG": str(kubeconfig), "PATH": f"{plane.programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_node_is_left_out(own_plane: ControlPlane, tmp_path: Path) -> None:
    plane = own_plane
    admin = plane.kubeconfig("admin", "admin-of-the-tests")
    for name in ("a-without-a-pod", "b-that-nobody-reaches"):
        plane.create(NODES, node(name, **{"kubernetes.io/os": "linux"}))
    plane.create(NODES, node("c-of-another-system", **{"kubernetes.io/os": "windows"}))
    done = check(plane, admin)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no pod with the label app.kubernetes.io/name=socklb runs" in done.stderr
    assert "pyinfra inventory deploys/check.py" in done.stderr

    spec = {"nodeName": "b-that-nobody-reaches", "containers": [{"name": "agent", "image": "x"}]}
    plane.create(PODS, {"metadata": {"name": "socklb-x", "labels": LABELS}, "spec": spec})
    assert "no pod with the label" in check(plane, admin).stderr  # it does not run yet
    plane.patch(f"{PODS}/socklb-x/status", {"status": {"phase": "Running", "containerStatuses": [RUNNING]}})
    junit = tmp_path / "check.xml"
    done = check(plane, admin, "--json", "--junit", str(junit))
    found = json.loads(done.stdout)
    assert done.returncode == 5
    assert [(row["node"], row["verdict"]) for row in found] == [
        ("a-without-a-pod", "failed"),
        ("b-that-nobody-reaches", "failed"),
    ]
    assert found[0]["seen"] == "no pod of the DaemonSet runs there"
    assert found[0]["next"].endswith("--field-selector spec.nodeName=a-without-a-pod")
    assert "no preferred addresses found" in found[1]["seen"]  # as kubectl says it
    assert found[1]["next"] == "kubectl exec --namespace kube-system socklb-x --container agent -- socklb check"
    suites = ET.parse(junit).getroot()
    assert [suite.get("name") for suite in suites] == [f"socklb check {row['node']}" for row in found]
    lines = check(plane, admin).stdout.splitlines()
    assert lines[0].split() == ["NODE", "CHECK", "VERDICT", "AT", "SEEN", "NEXT"]
    assert lines[-1] == "2 failed"


def test_what_kubectl_may_not_do_is_said(plane: ControlPlane, tmp_path: Path) -> None:
    done = check(plane, plane.kubeconfig("nobody", "not-a-token"))
    assert done.returncode == 1
    assert "kubectl get nodes: " in done.stderr
    assert "kubectl auth can-i list nodes" in done.stderr
