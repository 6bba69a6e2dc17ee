"""One packet path takes over from the other: what that one made goes, and ends no connection that it serves."""

from __future__ import annotations

import sys
from pathlib import Path

from socklb.config import Config
from socklb.datapath.pins import Pins
from socklb.packets import ruleset
from socklb.serving import ANY4, Frontend
from socklb.tc.takeover import Takeover
from tests.packets.conftest import Node, serving
from tests.packets.network import NODE, Network

HOLD = """
import socket, sys
with socket.create_connection((sys.argv[1], 32000), 5) as connection:
    print(connection.recv(100).decode(), flush=True)
    sys.stdin.read()
"""
EBPF = Config(node="node", packet_path="ebpf")


def test_the_table_of_nftables_stays_until_nothing_is_translated_by_it(
    node: Node, network: Network, tmp_path: Path
) -> None:
    node.sync({Frontend(ANY4, 32000, 6): serving("a")})
    takeover = Takeover(EBPF, Pins(tmp_path))
    holding = network.start("client", sys.executable, "-c", HOLD, NODE, ready="a 10.244.1.1")
    with network.inside("node"):
        assert not takeover.look(whole=False)
        assert not takeover.look(whole=True)
        assert ruleset.read() is not None
        holding.kill()
        holding.wait()
        network.run("node", "conntrack", "-F")  # the kernel forgets a closed one after two minutes
        assert takeover.look(whole=True)
        assert ruleset.read() is None
        assert takeover.look(whole=True)


def test_a_node_without_the_table_has_nothing_to_leave(node: Node, network: Network, tmp_path: Path) -> None:
    with network.inside("node"):
        assert Takeover(EBPF, Pins(tmp_path)).look(whole=True)


def test_nftables_leaves_other_tables_of_ours_alone(node: Node, network: Network, tmp_path: Path) -> None:
    node.sync({Frontend(ANY4, 32000, 6): serving("a")})
    with network.inside("node"):
        assert Takeover(Config(node="node"), Pins(tmp_path)).look(whole=True)
        assert ruleset.read() is not None
