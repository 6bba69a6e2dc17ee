"""inventory/place.py and inventory/testinfra_host.py: what labs, tests and roles use of a host, by any connector."""

import pytest

from inventory import reach
from inventory.hosts import Inventory
from inventory.place import CommandError, Entry, Place, machine
from inventory.testinfra_host import testinfra_host

(HERE,) = Inventory({"nodes": ["@local"]}, {})
(NODE,) = Inventory({"nodes": ["@netns/w1"]}, {})


def test_a_command_runs_there_with_what_it_is_given() -> None:
    done = machine("here", HERE).run("sh", "-c", "cat; exit 3", given="a\n")
    assert (done.returncode, done.stdout) == (3, "a\n")


def test_what_leads_into_a_pod_stands_before_the_command() -> None:
    pod = Place("pod", Entry(HERE, ("env", "-i", "A=1")))
    assert pod.output("env") == "A=1"


def test_a_command_that_must_succeed_says_where_it_failed_and_what_it_said() -> None:
    with pytest.raises(CommandError, match=r"^here: exit code 2 from sh -c 'echo no >&2; exit 2': no$"):
        machine("here", HERE).output("sh", "-c", "echo no >&2; exit 2")


def test_a_stream_is_read_while_it_runs() -> None:
    with machine("here", HERE).stream("sh", "-c", "echo first; exec sleep 60") as stream:
        assert stream.stdout
        assert stream.stdout.readline() == "first\n"
        stream.kill()


def test_unhooked_is_the_same_place_outside_of_the_nodes_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inventory.connectors.netns_node.pid", lambda _node: 4711)
    place = machine("w1", NODE)
    assert place.unhooked.argv("true") == place.argv("true", hooked=False) != place.argv("true")
    with pytest.raises(reach.NotSupportedError):
        machine("here", HERE).unhooked.argv("true")


def test_testinfra_goes_the_same_way() -> None:
    node = testinfra_host(HERE)
    assert node.check_output("echo %s", "a b") == "a b"
    assert node.file("/proc/self/mounts").exists
    assert node.run("exit 3").rc == 3
