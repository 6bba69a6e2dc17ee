"""Routes to the pods of the other nodes, by way of each node's own address: native routing, without a tunnel.

    routes = NodeRoutes(config)
    async with routes.kept():
        routes.update(state, affected.nodes, complete=batch.complete)

For nodes of one network: a node that is not a neighbour gets no route, and is named among the problems. Our routes
carry a protocol number of their own; a route of anybody else is neither changed nor removed. When the agent stops,
they stay.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from socklb.api.addresses import Network, parse_address
from socklb.api.objects import Node
from socklb.api.source import Problem
from socklb.config import Config
from socklb.serving import address_text, is_ipv4
from socklb.state import State

PROTOCOL = "83"  # "S": no name in rt_protos, and no other program's number
EVERY = 10.0  # seconds between two looks: a link that goes down takes its routes along
LIMIT = 30.0  # seconds for one call of ip

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """A route as the kernel has it: by way of which address, and who made it."""

    gateway: str
    protocol: str


class NodeRoutes:
    """See the module. With `node_routes = false` in the configuration it does nothing."""

    def __init__(self, config: Config) -> None:
        """Begin without any route; those of an earlier agent stay until everything is known."""
        self._node = config.node
        self._enabled = config.node_routes
        self._complete = False
        self._of_node: dict[str, dict[str, str]] = {}
        self._failures: tuple[str, ...] = ()

    @property
    def problems(self) -> list[Problem]:
        """What is wrong at present."""
        return [Problem("", 0, "", f"node routes: {text}") for text in self._failures]

    def update(self, state: State, nodes: Iterable[str], *, complete: bool) -> None:
        """Take over these Nodes. Only with `complete` are routes pruned that no Node stands for."""
        if not self._enabled:
            return
        changed = complete and not self._complete
        self._complete = self._complete or complete
        for name in nodes:
            node = state.nodes.get(name)
            now = pod_routes(node) if node and name != self._node else {}
            if now != self._of_node.get(name, {}):
                changed = True
                self._of_node[name] = now
                if not now:
                    del self._of_node[name]
        if changed:
            self.repair()

    def repair(self) -> None:
        """Bring the kernel's routes to what they should be. A failure is told once and tried again."""
        try:
            failures = self._repair()
        except (OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
            failures = (f"the routes cannot be read: {error}",)
        for text in failures:
            if text not in self._failures:
                log.error("node routes: %s", text)
        self._failures = failures

    def _repair(self) -> tuple[str, ...]:
        wanted = self.wanted()
        commands = changes(wanted, present(), prune=self._complete)
        if not commands:
            return tuple(_missing(wanted, present()))
        log.info("node routes: %d to change, such as: %s", len(commands), commands[0])
        # Each for itself: a node that is no neighbour does not keep the others from their routes.
        subprocess.run(
            ["ip", "-force", "-batch", "-"],
            input="\n".join(commands) + "\n",
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return tuple(_missing(wanted, present()))

    def wanted(self) -> dict[str, str]:
        """Destination to gateway. Where two Nodes claim the same network, the first by name has it."""
        routes: dict[str, str] = {}
        for name in sorted(self._of_node):
            for destination, gateway in self._of_node[name].items():
                routes.setdefault(destination, gateway)
        return routes

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Look after the routes while the block runs; afterwards they stay."""
        looking = asyncio.create_task(self._look_regularly())
        try:
            yield
        finally:
            looking.cancel()

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            if self._of_node:
                self.repair()


def pod_routes(node: Node) -> dict[str, str]:
    """Give a node's pod networks, each by way of the node's first internal address of the same family."""
    internal = [parse_address(one.address) for one in node.status.addresses if one.type == "InternalIP"]
    gateways = {is_ipv4(address): address_text(address) for address in reversed(internal)}
    networks = [Network.parse(cidr) for cidr in node.spec.podCIDRs]
    return {str(network): gateways[network.is_ipv4] for network in networks if network.is_ipv4 in gateways}


def changes(wanted: Mapping[str, str], there: Mapping[str, Route], *, prune: bool) -> list[str]:
    """Give the commands of `ip -batch` that lead from what is there to what is wanted."""
    add = [
        f"route replace {destination} via {gateway} protocol {PROTOCOL}"
        for destination, gateway in wanted.items()
        if destination not in there
        or (there[destination].protocol == PROTOCOL and there[destination].gateway != gateway)
    ]
    unwanted = [
        destination
        for destination, route in there.items()
        if prune and route.protocol == PROTOCOL and destination not in wanted
    ]
    return [*add, *(f"route delete {destination} protocol {PROTOCOL}" for destination in unwanted)]


def present() -> dict[str, Route]:
    """Read the routes of the main table, destination to route. Of several to one destination, ours if it is there."""
    routes: dict[str, Route] = {}
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        argv = ["ip", family, "-json", "-N", "route", "show"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
        for one in json.loads(done.stdout or "[]"):
            destination = everything if one["dst"] == "default" else str(Network.of(one["dst"]))
            route = Route(one.get("gateway", ""), str(one.get("protocol", "")))
            if destination not in routes or route.protocol == PROTOCOL:
                routes[destination] = route
    return routes


def remove_all() -> list[str]:
    """Remove every route of ours; give their destinations."""
    ours = [destination for destination, route in present().items() if route.protocol == PROTOCOL]
    for destination in ours:
        argv = ["ip", "route", "delete", destination, "protocol", PROTOCOL]
        subprocess.run(argv, capture_output=True, timeout=LIMIT, check=True)
    return ours


def _missing(wanted: Mapping[str, str], there: Mapping[str, Route]) -> Iterable[str]:
    """Say which pods cannot be reached, and why."""
    for destination, gateway in wanted.items():
        route = there.get(destination)
        if route is None:
            yield f"no route to {destination}: {gateway} is on no network of this node"
        elif route.gateway != gateway:
            yield (
                f"the route to {destination} leads to {route.gateway or 'a link'} instead of {gateway}, and is not "
                f"ours (protocol {route.protocol}): remove it, or set node_routes = false"
            )
