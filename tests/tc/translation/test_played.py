"""A client outside is played as one that is really there would be served."""

from __future__ import annotations

import pytest

from socklb.model import ANY4, ANY6, Frontend, pack_address
from socklb.tc import played
from tests.packets.network import NODE, NODE6
from tests.tc.translation.conftest import Ask, Node, backends, names, serving

PORT = 32000


def asked_at(address: str) -> Frontend:
    return Frontend(pack_address(address), PORT, 6)


@pytest.mark.parametrize("address", [NODE, NODE6])
@pytest.mark.parametrize("pod", ["b", "far"])
def test_a_node_port_is_led_where_a_real_client_is_led(node: Node, ask: Ask, address: str, pod: str) -> None:
    six = ":" in address
    node.sync({Frontend(ANY6 if six else ANY4, PORT, 6): serving(pod, six=six)})
    assert problem(node, address, pod) == ""
    assert names(ask("client", address, PORT)) == {pod}
    assert "which is none of its backends" in problem(node, address, "a")


def test_what_nobody_serves_is_found(node: Node) -> None:
    node.sync({Frontend(ANY4, PORT, 6): serving("b")})
    assert problem(node, NODE, "b") == ""
    node.sync({})
    assert problem(node, NODE, "b") == f"it goes to {NODE}:{PORT}, which is none of its backends"


def test_a_device_without_our_program_is_found(node: Node) -> None:
    node.sync({Frontend(ANY4, PORT, 6): serving("b")})
    with node.network.inside("node"):
        assert played.program_at(1) is None
        assert played.problem(1, asked_at(NODE), backends("b")) == "no program of ours runs there"


def problem(node: Node, address: str, pod: str) -> str:
    """Play at the program that is loaded; that of an agent is found in `test_in_the_agent`."""
    ifindex = node.index_of("eth0")
    with node.network.inside("node"), pytest.MonkeyPatch.context() as patched:
        import os

        patched.setattr(played, "program_at", lambda _: os.dup(node.programs.fd("uplink_in")))
        return played.problem(ifindex, asked_at(address), backends(pod, six=":" in address))
