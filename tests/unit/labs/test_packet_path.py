"""The flows of a node, as `socklb flow list` prints them."""

from pathlib import Path

import pytest

from labs.engine.errors import CannotRunError
from labs.engine.packet_path import EarlierFlows, Flows, flows
from labs.engine.places import Command, Output
from tests.unit.labs.bench import Bench, Desk

LISTED = """\
PROTOCOL  CLIENT            FRONTEND          BACKEND          SEEN AS           STATE   AGE  IDLE  SERVICE
TCP       10.244.1.2:41022  172.18.0.4:32000  10.244.0.2:8080  172.18.0.4:41022  closed  9 s  9 s   default/web
"""


def flows_of(tmp_path: Path, out: str, err: str = "", status: int = 0) -> list[str]:
    class Node(Desk):
        def ask(self, command: Command) -> Output:
            return Output(command.typed, status, out, err)

    env = Bench(tmp_path).env()
    return flows(Node(env.target, env.seen, env.screen, env.folder), "w2")


def test_a_flow_is_told_without_what_changes_as_time_goes_by(tmp_path: Path) -> None:
    assert flows_of(tmp_path, LISTED) == ["TCP 10.244.1.2:41022 to 172.18.0.4:32000, answered by 10.244.0.2:8080"]


def test_a_table_without_flows_is_empty(tmp_path: Path) -> None:
    assert flows_of(tmp_path, LISTED.splitlines()[0]) == []


def test_a_node_whose_packet_path_was_removed_translates_nothing(tmp_path: Path) -> None:
    told = "Error: no flows of ours on this node (was: '/sys/fs/bpf'). Next: set packet_path = true and start the agent"
    assert flows_of(tmp_path, "", told, status=1) == []


def test_a_table_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="not found"):
        flows_of(tmp_path, "", "socklb: not found", status=127)


def test_new_flows_are_those_that_the_same_node_did_not_have() -> None:
    earlier = EarlierFlows({"w1": ["a"], "w2": []})
    assert Flows({"w1": ["a", "b"], "w2": ["a"]}).new_since(earlier) == ["b", "a"]
