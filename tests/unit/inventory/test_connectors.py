"""inventory/connectors: what can be said about a node without making one."""

import shlex
import threading
from pathlib import Path

import pytest

from inventory.connectors import cgroup, fabric, netns_node, this_machine
from inventory.connectors.this_machine import NodeError


@pytest.mark.parametrize("name", ["", "W1", "-w", "1w", "a/b", "..", "a" * 15, "w 1", ".unhooked"])
def test_a_name_that_cannot_be_an_interface_or_a_folder_is_refused(name: str) -> None:
    with pytest.raises(NodeError, match="cannot be the name of a node"):
        netns_node.home(name)


def test_a_node_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(NodeError, match=r"node nowhere is not there\. Next: pyinfra inventory deploys/cluster"):
        netns_node.enter_argv("nowhere")


def test_a_reused_pid_is_not_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number in the file lives, but it is this test: neither PID 1 of its namespace nor in the node's network."""
    monkeypatch.setattr(this_machine, "NODES", tmp_path)
    (tmp_path / "w1").mkdir()
    (tmp_path / "w1" / "pid").write_text("1\n")
    assert netns_node.pid("w1") is None


def test_a_failed_command_can_be_pasted_and_shows_what_it_said() -> None:
    with pytest.raises(NodeError) as caught:
        this_machine.run("sh", "-c", "cat; echo 'no such thing' >&2; exit 3", given="line\n")
    first, *_, last = str(caught.value).splitlines()
    assert (
        first == "exit code 3 from: " + shlex.join(["sh", "-c", "cat; echo 'no such thing' >&2; exit 3"]) + " <<'END'"
    )
    assert last == "no such thing"


def test_the_lock_lets_one_in_at_a_time() -> None:
    entered = threading.Event()

    def second() -> None:
        with this_machine.lock():
            entered.set()

    thread = threading.Thread(target=second)
    with this_machine.lock():
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
    thread.join()


def test_a_bind_mount_within_one_file_system_is_seen() -> None:
    assert this_machine.is_mount(Path("/proc"))
    assert not this_machine.is_mount(Path("/proc/self"))


def test_a_node_made_anew_has_the_same_hardware_address() -> None:
    first = fabric.hardware_address("w1")
    assert first == fabric.hardware_address("w1") != fabric.hardware_address("w2")
    assert int(first[:2], 16) & 0b11 == 0b10  # administered locally, unicast


def test_the_cgroups_of_nodes_lie_below_our_own() -> None:
    assert cgroup.of_node("w1").parent == cgroup.of_unhooked().parent == cgroup.mount_point() / "socklb"
    assert not netns_node.NAME.fullmatch(cgroup.UNHOOKED)
