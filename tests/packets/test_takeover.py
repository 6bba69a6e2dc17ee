"""The table of an earlier version that served packets by nftables goes, and ends no connection that it translates."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from socklb.model import ANY4, Backend, Frontend, Serving, pack_address
from socklb.tc.takeover import Takeover
from tests.packets.conftest import Node
from tests.packets.network import NODE, PODS, Network

# As `nft --numeric-protocol list table inet socklb` showed it on a node with a NodePort 32000, which a serves at 8081.
EARLIER = Path(__file__).with_name("earlier.nft")
ECHO = """
import socket, sys, threading
def answer(connection):
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)
server = socket.create_server((sys.argv[1], 8081))
print("ready", flush=True)
while True:
    threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()
"""
# Asks fifty times a second on one connection, and ends when it is not answered.
HOLD = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 32000), 1) as connection:
    while True:
        connection.sendall(b"?")
        assert connection.recv(1) == b"?"
        print("answered", flush=True)
        time.sleep(0.02)
"""
Look = Callable[[bool], bool]


@pytest.fixture
def look(network: Network) -> Iterator[Look]:
    """Return whether nothing is left of the earlier version; asked when this one serves everything, or does not yet."""
    takeover = Takeover()

    def look(whole: bool) -> bool:
        with network.inside("node"):
            return takeover.look(whole=whole)

    yield look
    network.run("node", "nft", "flush", "ruleset")
    network.run("node", "conntrack", "-F")


@pytest.fixture
def echo(network: Network) -> Iterator[None]:
    server = network.start("a", sys.executable, "-c", ECHO, PODS["a"], ready="ready")
    yield
    server.kill()


def tables(network: Network) -> list[str]:
    return network.output("node", "nft", "list", "tables").splitlines()


def translated(network: Network) -> bool:
    """Whether netfilter has translated anything."""
    return "src=172.31.0.9 dst=172.31.0.2" in network.output("node", "conntrack", "-L", "--dst-nat")


def begin(network: Network) -> subprocess.Popen[bytes]:
    """Have the client talk to the NodePort."""
    return network.start("client", sys.executable, "-c", HOLD, NODE, ready="answered")


def end(talk: subprocess.Popen[bytes]) -> None:
    talk.kill()
    talk.wait()


@pytest.mark.usefixtures("echo", "bridges_pass_netfilter_by")
def test_the_table_stays_until_nothing_is_translated_by_it(node: Node, network: Network, look: Look) -> None:
    """Meanwhile what began by it goes on by it, and what begins is not its own."""
    for command in (("-f", str(EARLIER)), ("add table inet others",)):
        network.run("node", "nft", *command)
    both = ["table inet socklb", "table inet others"]
    before = begin(network)
    assert translated(network)
    assert not look(False)
    node.sync({Frontend(ANY4, 32000, 6): Serving((Backend(pack_address(PODS["a"]), 8081),))})
    assert not look(True)
    assert tables(network) == both
    begun = node.facts.counters["flows_begun"]
    after = begin(network)
    assert node.facts.counters["flows_begun"] == begun + 1
    time.sleep(1.5)
    assert before.poll() is after.poll() is None
    end(before)
    # As the kernel does two minutes after it was closed. This one alone: the table would take a packet of any other for
    # the first of a connection, and masquerade the pod's.
    network.run("node", "conntrack", "-D", "-p", "tcp", "--orig-dst", NODE, "--orig-port-dst", "32000")
    assert not translated(network)
    assert look(True)
    assert tables(network) == both[1:]
    assert look(True)
    time.sleep(1.5)
    assert after.poll() is None
    end(after)


def test_a_node_without_the_table_has_nothing_to_leave(look: Look) -> None:
    assert look(True)
