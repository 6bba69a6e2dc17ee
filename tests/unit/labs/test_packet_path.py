"""The flows of a node, as `socklb flow list` prints them."""

import pytest

from labs.engine.errors import CannotRunError
from labs.engine.packet_path import flows
from labs.engine.places import Output

LISTED = """\
PROTOCOL  CLIENT            FRONTEND          BACKEND          SEEN AS           STATE   AGE  IDLE  SERVICE
TCP       10.244.1.2:41022  172.18.0.4:32000  10.244.0.2:8080  172.18.0.4:41022  closed  9 s  9 s   default/web
"""


def test_a_flow_is_told_without_what_changes_as_time_goes_by() -> None:
    assert flows(lambda *_: Output("", 0, LISTED, ""), "w2", "10.244.1.2") == [
        "TCP 10.244.1.2:41022 to 172.18.0.4:32000, answered by 10.244.0.2:8080"
    ]


def test_a_table_without_flows_is_empty() -> None:
    assert flows(lambda *_: Output("", 0, LISTED.splitlines()[0], ""), "w2", "10.244.1.2") == []


def test_a_node_whose_packet_path_was_removed_translates_nothing() -> None:
    told = "Error: no flows of ours on this node (was: '/sys/fs/bpf'). Next: set packet_path = true and start the agent"
    assert flows(lambda *_: Output("", 1, "", told), "w1", "10.244.1.2") == []


def test_a_table_that_cannot_be_read_is_not_an_empty_one() -> None:
    def ask(node: str, *command: str) -> Output:
        return Output(f"lab exec {node} -- {' '.join(command)}", 127, "", "socklb: not found")

    with pytest.raises(CannotRunError, match="not found"):
        flows(ask, "w1", "10.244.1.2")
