"""The Job that `helm uninstall` waits for: it ends when every node is clean, with its own account's rights."""

import subprocess
import sys
from pathlib import Path

import yaml

from rig.control_plane import ControlPlane
from tests.support.helm import CHART, SERVERS, rendered

NAMESPACE, NAME = "of-the-chart", "socklb-cleanup"
DAEMONSET = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{NAME}"
NOBODY = "https://127.0.0.1:1"


def test_it_waits_for_every_node_and_asks_another_server_where_one_fails(
    own_plane: ControlPlane, tmp_path: Path
) -> None:
    plane = own_plane  # for the chart binds the agents' rights to another namespace's account
    plane.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(rendered({**SERVERS, "cleanupOnUninstall": True}, NAMESPACE).values()))
    plane.apply(file)
    with waiting(plane, tmp_path) as job:
        assert job.stdout
        assert f"{NOBODY} says nothing of {NAME}: " in job.stdout.readline()
        assert job.stdout.readline() == "0 of 0 nodes are cleaned up\n"  # nobody has counted the nodes yet
        generation = plane.get(DAEMONSET)["metadata"]["generation"]
        counted = {"observedGeneration": generation, "desiredNumberScheduled": 3, "currentNumberScheduled": 3}
        plane.patch(f"{DAEMONSET}/status", {"status": {**counted, "numberReady": 2}})
        assert "2 of 3 nodes are cleaned up\n" in job.stdout
        plane.patch(f"{DAEMONSET}/status", {"status": {"numberReady": 3}})
        assert [*job.stdout][-1] == "3 of 3 nodes are cleaned up\n"
        assert job.wait(10) == 0


def waiting(plane: ControlPlane, folder: Path) -> subprocess.Popen[str]:
    """Start what the Job runs, with the account's files where this test may write them."""
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
    (folder / "token").write_text(plane.create(account, {"spec": {}})["status"]["token"])
    (folder / "ca.crt").write_bytes(plane.ca.read_bytes())
    script = (CHART / "files/wait_for_cleanup.py").read_text()
    assert script.count("/var/run/secrets/kubernetes.io/serviceaccount") == 1
    there = script.replace("/var/run/secrets/kubernetes.io/serviceaccount", str(folder))
    words = ["timeout", "30", sys.executable, "-Ic", there, NAMESPACE, NAME, NOBODY, plane.server]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
