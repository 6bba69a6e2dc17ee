"""What the client asks, and in which ways: the commands of lab 01, as a reader types them."""

from pathlib import Path

from labs.engine.cluster import V6
from labs.engine.model import Commands
from labs.engine.packet import Endpoint
from labs.engine.packet_path import listing
from labs.engine.places import Command, at
from labs.engine.scenario import DNS, MANY, Scenario

PEER = Path(__file__).with_name("peer.py")


def status(on: Scenario) -> list[Command]:
    return [at(on.client_node, "socklb", "status", "--verbose", lines=60)]


def other_ways(on: Scenario) -> list[Endpoint]:
    """Return every address of the Service but the one of the first steps."""
    return [on.cluster_ip(), on.node_port(family=V6), on.cluster_ip(family=V6)]


def each_other_way(on: Scenario) -> list[Command]:
    return [on.curl(service) for service in other_ways(on)]


def of_tcp(on: Scenario) -> list[Endpoint]:
    """Return the Services whose name in an application is asked for."""
    return [on.cluster_ip(), on.cluster_ip(family=V6), on.node_port()]


def by_name(on: Scenario) -> list[Command]:
    asked = (f"@{on.cluster_ip(DNS).address}", "whoami.example.test", "TXT")
    return [at(on.client, "dig", "+noall", "+answer", "+stats", "+tries=1", "+timeout=1", *asked)]


def as_an_application(on: Scenario) -> list[Command]:
    return [*(peer(on, "tcp", end) for end in of_tcp(on)), *by_name(on), peer(on, "udp", on.cluster_ip(DNS))]


def peer(on: Scenario, protocol: str, service: Endpoint) -> Command:
    return at(on.client, "python3", "-", protocol, service.address, str(service.port), stdin=PEER)


def until_the_third_node_answers(on: Scenario) -> Commands:
    yield at(on.client, "ping", "-c", "1", "-W", "1", on.address(on.asked))
    for _ in range(MANY):
        said = yield on.curl(on.node_port())
        if on.node_of(said.out) == on.third:
            break
    yield listing(on, on.asked)
