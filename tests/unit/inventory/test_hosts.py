"""inventory/hosts.py: the inventory as data, the same as pyinfra itself reads it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inventory import hosts
from inventory.hosts import Host, Inventory, UnknownInventoryError

LOCAL = hosts.path("local")
# Another process: importing pyinfra_cli patches the standard library for gevent.
PYINFRAS_OWN_VIEW = """
import json, sys
import pyinfra_cli.main
from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra_cli.inventory import make_inventory_from_files
with ctx_state.use(State()):
    inventory = make_inventory_from_files(sys.argv[1])
print(json.dumps({host.name: [sorted(set(host.groups)), host.data.dict()] for host in inventory}))
"""


@pytest.fixture
def inventory() -> Inventory:
    return hosts.load(LOCAL)


def the_host(inventory: Inventory, name: str) -> Host:
    found = inventory.get_host(name)
    assert found
    return found


@pytest.mark.parametrize("name", ["local", "kind"])
def test_groups_and_data_are_what_pyinfra_reads(name: str) -> None:
    command = [sys.executable, "-c", PYINFRAS_OWN_VIEW, str(hosts.path(name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = {host.name: [sorted(set(host.groups)), host.data.dict()] for host in hosts.load(hosts.path(name))}
    assert ours == json.loads(done.stdout)


def test_the_local_inventory_has_three_nodes_and_a_machine_outside(inventory: Inventory) -> None:
    def group(name: str) -> list[str]:
        return [hosts.short_name(host) for host in inventory.get_group(name)]

    assert group("control_plane") == ["cp"]
    assert group("workers") == ["w1", "w2"]
    assert group("nodes") == ["cp", "w1", "w2"]
    assert group("outside") == ["outside"]


def test_the_kind_inventory_names_the_nodes_as_kind_does() -> None:
    inventory = hosts.load(hosts.path("kind"))
    names = ["socklb-control-plane", "socklb-worker", "socklb-worker2"]
    for group in ("nodes", "kubernetes"):
        assert [hosts.short_name(host) for host in inventory.get_group(group)] == names
    assert [hosts.short_name(host) for host in inventory.get_group("workers")] == names[1:]
    (outside,) = inventory.get_group("outside")
    assert (hosts.short_name(outside), hosts.container_of(outside)) == ("outside", "socklb-outside")


def test_the_group_named_like_the_file_wins(tmp_path: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "mine.py").write_text("workers = [('@netns/w1', {'a': 'host'})]\n_ignored = ['@netns/w2']\n")
    for name in ("all", "workers", "mine"):
        (tmp_path / f"group_data/{name}.py").write_text(f"a = b = {name!r}\n{name} = True\n")
    data = the_host(hosts.load(tmp_path / "mine.py"), "@netns/w1").data
    assert (data.a, data.b) == ("host", "mine")
    assert [data.all, data.workers, data.mine] == [True, True, True]


def test_the_environment_chooses_the_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKLB_INVENTORY", raising=False)
    assert hosts.path() == LOCAL
    monkeypatch.setenv("SOCKLB_INVENTORY", "kind")
    assert hosts.path() == LOCAL.with_name("kind.py")
    assert hosts.path("local") == LOCAL


def test_an_inventory_that_is_not_there_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKLB_INVENTORY", "foo")
    with pytest.raises(UnknownInventoryError) as raised:
        hosts.path()
    assert str(raised.value) == "SOCKLB_INVENTORY=foo: no such inventory in inventory/. Valid: kind, local"
    for name in ("locl", "hosts", "group_data"):
        with pytest.raises(UnknownInventoryError, match=f"^'{name}': no such inventory in inventory/. Valid: "):
            hosts.path(name)


def test_data_that_nobody_gave_names_the_host() -> None:
    host = hosts.load(hosts.path("kind")).get_group("nodes")[0]
    with pytest.raises(AttributeError, match="@kind/socklb-control-plane has no data 'pods'"):
        _ = host.data.pods
    assert host.data.get("pods", "none") == "none"


def test_reading_an_inventory_does_not_import_pyinfra() -> None:
    """It costs 0.9 s of CPU, and every `lab` command would pay it."""
    loading = "from inventory import hosts, place; hosts.load(hosts.path('local'))"
    code = f"import sys; {loading}; print('pyinfra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
