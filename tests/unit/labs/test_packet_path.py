"""Connection entries, as the real tool prints them."""

import pytest

from labs.engine.errors import CannotRunError
from labs.engine.packet_path import connections, translated
from labs.engine.places import Output


def entry(target: str, port: int, back_to: str = "10.244.1.2") -> str:
    """The line of `conntrack -L` for a connection of 10.244.1.2 to `target`, answered by 10.244.0.2:8080."""
    asked = f"src=10.244.1.2 dst={target} sport=1 dport={port}"
    return f"tcp 6 119 TIME_WAIT {asked} src=10.244.0.2 dst={back_to} sport=8080 dport=1 [ASSURED] use=1"


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        pytest.param(entry("10.244.0.2", 8080), False, id="plain"),
        pytest.param(entry("172.18.0.4", 32000), True, id="DNAT"),
        pytest.param(entry("10.244.0.2", 8080, back_to="172.18.0.3"), True, id="SNAT"),
    ],
)
def test_a_translated_connection_is_told_from_a_plain_one(line: str, changed: bool) -> None:
    assert translated(line) is changed


def test_a_table_that_cannot_be_read_is_not_an_empty_one() -> None:
    def ask(node: str, *command: str) -> Output:
        return Output(f"lab exec {node} -- {' '.join(command)}", 127, "", "conntrack: not found")

    with pytest.raises(CannotRunError, match="not found"):
        connections(ask, "w1", "10.244.1.2")
