"""`lab exec` reaches every machine and pod there is, and what is typed often starts without large modules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labs.engine.places import ROOT
from tests.labs.command import lab
from tests.support.cluster import Cluster


@pytest.mark.parametrize("machine", ["cp", "w1", "w2", "outside"])
def test_every_machine_of_the_inventory_is_reached(cluster: Cluster, machine: str) -> None:
    done = lab("exec", machine, "--", "hostname")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{machine}\n", "")


def test_the_line_of_the_quick_start_says_that_the_node_is_served(cluster: Cluster) -> None:
    line = "source .venv/bin/activate && lab exec w1 -- socklb status"
    assert line in (ROOT / "README.md").read_text()
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "attached" in done.stdout


def test_the_client_outside_asks_a_node_port(cluster: Cluster) -> None:
    done = lab("exec", "outside", "--", "curl", "-s", "--max-time", "5", "http://172.18.0.4:32000/")
    assert done.stdout.startswith("web-")


def test_a_pod_that_somebody_added_is_reached(cluster: Cluster) -> None:
    assert lab("exec", "w2", "--", "pod", "add", "mine").returncode == 0
    try:
        listed = json.loads(lab("exec", "w2", "--", "pod", "list", "--json").stdout)
        (address,) = [pod["addresses"][0] for pod in listed if pod["name"] == "mine"]
        assert f" {address}/" in lab("exec", "mine", "--", "ip", "-brief", "address").stdout
        assert lab("exec", "mine", "--unhooked", "--", "true").returncode == 0
    finally:
        lab("exec", "w2", "--", "pod", "delete", "mine")
    done = lab("exec", "mine", "--", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("lab: no node or pod 'mine'; there is: cp, w1, w2, outside, ")


@pytest.mark.parametrize("words", [["exec", "w1", "--", "true"], ["list"], ["show"]], ids=" ".join)
def test_what_is_typed_often_loads_no_large_module(cluster: Cluster, words: list[str]) -> None:
    """Each of them costs more CPU than all of `lab exec w1 -- true`, which is 0.1 s."""
    large = {"pyinfra", "kubernetes", "paramiko", "gevent", "aiohttp", "asyncio", "jinja2", "polib"}
    lab = Path(sys.executable).with_name("lab")
    argv = [sys.executable, "-X", "importtime", lab, *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"labs", "inventory"} <= loaded
    assert not loaded & large
