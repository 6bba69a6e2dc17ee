"""inventory/reach.py: one way to run a command on a host, whatever its connector."""

from typing import Any

import pytest
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from inventory import reach
from inventory.connectors import netns_node


def host(name: str, **data: Any) -> Host:
    found = Inventory(([(name, data)], {})).get_host(name)
    assert isinstance(found, Host)
    return found


SSH_DATA = {
    "ssh_hostname": "192.0.2.7",
    "ssh_port": 2222,
    "ssh_user": "admin",
    "ssh_key": "/keys/id",
    "ssh_known_hosts_file": "/keys/known",
    "ssh_strict_host_key_checking": "yes",
    "_sudo": True,
}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(host("@local"), ["echo", "a b"], id="local"),
        pytest.param(
            host("@docker/lab-worker"),
            ["docker", "exec", "--interactive", "lab-worker", "echo", "a b"],
            id="docker",
        ),
        pytest.param(
            host("@kind/socklb-worker"),
            ["docker", "exec", "--interactive", "socklb-worker", "echo", "a b"],
            id="kind",
        ),
        pytest.param(
            host("@kind/outside", container="socklb-outside"),
            ["docker", "exec", "--interactive", "socklb-outside", "echo", "a b"],
            id="beside kind",
        ),
        pytest.param(host("node-1"), ["ssh", "-o", "BatchMode=yes", "node-1", "--", "echo 'a b'"], id="plain name"),
        pytest.param(host("@ssh/node-1"), ["ssh", "-o", "BatchMode=yes", "node-1", "--", "echo 'a b'"], id="ssh"),
        pytest.param(
            host("node-1", **SSH_DATA),
            [
                *("ssh", "-p", "2222", "-i", "/keys/id", "-l", "admin"),
                *("-o", "UserKnownHostsFile=/keys/known", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"),
                *("192.0.2.7", "--", "sudo -n -- echo 'a b'"),
            ],
            id="ssh with data",
        ),
    ],
)
def test_the_command_line_by_connector(target: Host, expected: list[str]) -> None:
    assert reach.argv(target, "echo", "a b") == expected


def test_a_node_of_the_local_cluster_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns_node, "pid", lambda _node: 4711)
    argv = reach.argv(host("@netns/w1"), "echo", "a b")
    join, enter = argv[:4], argv[4:6]
    assert join[:2] == ["sh", "-c"]
    assert join[3].endswith("/socklb/w1")
    assert enter == ["nsenter", "--target=4711"]
    assert argv[-2:] == ["echo", "a b"]


def test_unhooked_joins_a_cgroup_outside_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns_node, "pid", lambda _node: 4711)
    argv = reach.argv(host("@netns/w1"), "true", hooked=False)
    assert argv[3].endswith("/socklb/.unhooked")


def test_unhooked_on_a_machine_is_the_slice_that_its_hooks_leave_out() -> None:
    argv = reach.argv(host("node-1", _sudo=True, unhooked_slice=True), "echo", "a b", hooked=False)
    assert argv[:3] == ["ssh", "-o", "BatchMode=yes"]
    assert argv[-1] == "sudo -n -- systemd-run --scope --quiet --slice=unhooked.slice -- echo 'a b'"


@pytest.mark.parametrize("name", ["@local", "node-1"])
def test_other_hosts_say_that_they_have_no_unhooked(name: str) -> None:
    with pytest.raises(reach.NotSupportedError, match=f"{name}: .* Next: .*SOCKLB_INVENTORY=local"):
        reach.argv(host(name), "true", hooked=False)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(host("@kind/n"), ["docker", "exec", "--interactive", "--tty", "n", "sh"], id="kind"),
        pytest.param(host("node-1"), ["ssh", "-t", "node-1", "--", "sh"], id="ssh"),
        pytest.param(host("@local"), ["sh"], id="local"),
    ],
)
def test_who_sits_at_a_terminal_has_one_there(target: Host, expected: list[str]) -> None:
    assert reach.argv(target, "sh", terminal=True) == expected
