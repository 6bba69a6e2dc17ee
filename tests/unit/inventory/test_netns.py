"""The connector `@netns/…`, as far as it can be asked without making a node."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inventory.connectors import netns, netns_node, this_machine
from inventory.connectors.netns import NetnsConnector

ROOT = Path(__file__).parents[3]
PYINFRA = Path(sys.executable).with_name("pyinfra")


def pyinfra(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYINFRA, "-y", *words], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_a_host_that_is_typed_has_the_addresses_that_the_inventory_gives_it() -> None:
    ((name, data, groups),) = NetnsConnector.make_names_data("w1")
    assert (name, groups) == ("@netns/w1", [])
    assert data == {"addresses": ["172.18.0.3/24", "fd00:172:18::3/64"]}
    assert netns.known() == ["@netns/cp", "@netns/outside", "@netns/w1", "@netns/w2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_host_that_no_inventory_has_makes_nothing() -> None:
    done = pyinfra("@netns/nosuch", "exec", "--", "true")
    assert done.returncode == 1
    assert "no inventory has this node. Valid: @netns/cp, @netns/outside, @netns/w1, @netns/w2" in done.stderr
    assert "nosuch" not in netns_node.nodes()
    assert not (this_machine.NETNS / "socklb-nosuch").exists()


def test_pyinfra_in_another_folder_does_not_succeed_with_nothing_done(tmp_path: Path) -> None:
    done = pyinfra("inventory", "cluster.py", cwd=ROOT / "deploys")
    assert done.returncode == 1
    assert (
        f"holds no inventory: pyinfra works in the checkout. Next: cd {ROOT}, and the same command again" in done.stderr
    )


def test_an_inventory_that_is_not_there_is_told_with_those_that_are() -> None:
    done = pyinfra("inventory", "deploys/cluster.py", SOCKLB_INVENTORY="foo")
    assert done.returncode == 1
    assert "SOCKLB_INVENTORY=foo: no such inventory in inventory/. Valid: kind, local" in done.stderr


def test_pytest_tells_an_inventory_that_is_not_there() -> None:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/nodes", "--inventory", "locl"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip() == "ERROR: --inventory 'locl': no such inventory in inventory/. Valid: kind, local"


def test_an_inventory_file_that_is_not_there_is_no_success_either() -> None:
    done = pyinfra("inventory/knd.py", "deploys/cluster.py")
    assert done.returncode == 1
    assert "inventory/knd.py: no such inventory. Valid: inventory/kind.py, inventory/local.py" in done.stderr
