"""Routes to the pods of the other nodes, by way of each node's own address: native routing, without a tunnel.

    routes = NodeRoutes(config)
    supervisor.keep("node routes", routes.looked_after)
    routes.update(state, affected.nodes, complete=batch.complete)

For nodes of one network: a node that is not a neighbour gets no route, and is named among the problems. A Node's
networks are believed within pod_cidrs alone (pod_networks.py). Our routes carry a protocol number of their own; a route
of anybody else is neither changed nor removed, but for one that took the place of ours: what happens to our routes is
noticed at the next look, told, and undone. When the agent stops, they stay.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

from socklb.api.addresses import Network, parse_address
from socklb.api.objects import Node
from socklb.api.source import Problem
from socklb.api.troubles import Troubles
from socklb.config import Config
from socklb.desired.store import ObjectStore, put
from socklb.model import address_text, is_ipv4
from socklb.routes.pod_networks import PodNetworks

PROTOCOL = "83"  # "S": no name in rt_protos, and no other program's number
EVERY = 5.0  # seconds between two looks: a link that goes down takes its routes along
LIMIT = 30.0  # seconds for one call of ip
REMEMBERED = 120.0  # seconds that damage is shown after it was put right
UNBOUNDED = (
    "none is made: without pod_cidrs every network that a Node names would be believed; "
    'next: set pod_cidrs to the networks of all pods, as in ["10.244.0.0/16"]'
)

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
        self._enabled = config.node_routes and bool(config.pod_cidrs)
        self._unbounded = config.node_routes and not config.pod_cidrs
        if self._unbounded:
            log.error("node routes: %s", UNBOUNDED)
        self._complete = False
        self._of_node: dict[str, dict[str, str]] = {}
        self._networks = PodNetworks(config.pod_cidrs)
        self._well: dict[str, str] = {}  # what the last look found or made as it should be
        self._failures: tuple[str, ...] = ()
        self._damage: Troubles[str] = Troubles()
        self._due: asyncio.Event | None = None  # while they are looked after

    @property
    def problems(self) -> list[Problem]:
        """What is wrong at present, and what was put right lately."""
        texts = [UNBOUNDED] if self._unbounded else self._failures
        refused = [
            Problem("", 0, "spec.podCIDRs", f"no route to it: {reason}", f"Node/{name}")
            for name, reasons in sorted(self._networks.refused.items())
            for reason in reasons
        ]
        return [*(Problem("", 0, "", f"node routes: {text}") for text in texts), *refused, *self._damage.problems]

    def update(self, state: ObjectStore, nodes: Iterable[str], *, complete: bool) -> None:
        """Take over these Nodes. Only with `complete` are routes pruned that no Node stands for."""
        if not self._enabled:
            return
        found = {name: state.nodes.get(name) for name in nodes}
        first = complete and not self._complete
        if not found and not first:  # a change of a Service: nothing of the size of the cluster is looked at
            return
        before, refused = self.wanted(), self._networks.refused
        self._complete = self._complete or complete
        for name, node in found.items():
            put(self._of_node, name, pod_routes(node) if node else None)
        self._networks.update(found)
        for name, reasons in self._networks.refused.items():
            if reasons != refused.get(name):
                log.warning("node routes: Node %s: %s", name, "; ".join(reasons))
        if first or self.wanted() != before:
            if self._due:
                self._due.set()
            else:
                self.repair()

    def repair(self) -> None:
        """Bring the kernel's routes to what they should be. A failure is told once and tried again."""
        self._take(look(self.wanted(), self._well, prune=self._complete))

    def _take(self, found: Look) -> None:
        self._well = found.well
        for text in found.failures:
            if text not in self._failures:
                log.error("node routes: %s", text)
        self._failures = found.failures
        for destination, text in found.damage.items():
            if self._damage.note(destination, Problem("", 0, "", f"node routes: {text}")):
                log.warning("node routes: %s", text)
        self._damage.settle_before(time.time() - REMEMBERED)

    def wanted(self) -> dict[str, str]:
        """Destination to gateway, of all Nodes but our own."""
        routes: dict[str, str] = {}
        for network, name in self._networks.held.items():
            destination = str(network)
            if name != self._node and destination in self._of_node[name]:
                routes[destination] = self._of_node[name][destination]
        return routes

    async def looked_after(self) -> None:
        """Look after the routes in a thread, so that nothing waits for them. Does not end; afterwards they stay."""
        self._due = asyncio.Event()
        try:
            await self._look_regularly(self._due)
        finally:
            self._due = None

    async def _look_regularly(self, due: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await due.wait()
            due.clear()
            if self._complete or self._of_node:
                self._take(await asyncio.to_thread(look, self.wanted(), self._well, prune=self._complete))


class Look(NamedTuple):
    """What a look at the routes found and left."""

    well: dict[str, str]  # as they should be now
    failures: tuple[str, ...] = ()
    damage: Mapping[str, str] = MappingProxyType({})  # put right, by destination


def look(wanted: Mapping[str, str], well: Mapping[str, str], *, prune: bool) -> Look:
    """Bring the kernel's routes to what they should be; `well` are those that were so before."""
    try:
        return _look(wanted, {d: gateway for d, gateway in well.items() if wanted.get(d) == gateway}, prune=prune)
    except Exception as error:  # noqa: BLE001  (of ip, or of what it prints: the next look comes, whatever it was)
        return Look(dict(well), (f"the routes cannot be read or changed: {type(error).__name__}: {error}",))


def _look(wanted: Mapping[str, str], well: Mapping[str, str], *, prune: bool) -> Look:
    there = present()
    damaged = [d for d, gateway in well.items() if d not in there or there[d].gateway != gateway]
    commands = changes(wanted, there, prune=prune, ours=damaged)
    if commands:
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
    now = present() if commands else there
    left = {d: gateway for d, gateway in wanted.items() if d in now and now[d].gateway == gateway}
    return Look(left, tuple(_missing(wanted, now)), {d: _told(d, there.get(d)) for d in damaged if d in left})


def _told(destination: str, found: Route | None) -> str:
    if found is None:
        return f"the route to {destination} was removed by somebody else, and put back"
    way = found.gateway or "a link"
    return f"the route to {destination} was led to {way} by somebody else (protocol {found.protocol}), and put back"


def pod_routes(node: Node) -> dict[str, str]:
    """Return a node's pod networks, each by way of the node's first internal address of the same family."""
    internal = [parse_address(one.address) for one in node.status.addresses if one.type == "InternalIP"]
    gateways = {is_ipv4(address): address_text(address) for address in reversed(internal)}
    networks = [Network.parse(cidr) for cidr in node.spec.podCIDRs]
    return {str(network): gateways[network.is_ipv4] for network in networks if network.is_ipv4 in gateways}


def changes(
    wanted: Mapping[str, str], there: Mapping[str, Route], *, prune: bool, ours: Collection[str] = ()
) -> list[str]:
    """Return the commands of `ip -batch` that lead from what is there to what is wanted.

    `ours`: destinations that had our route, whoever has put another in its place.
    """
    add = [
        f"route replace {destination} via {gateway} protocol {PROTOCOL}"
        for destination, gateway in wanted.items()
        if destination not in there
        or destination in ours
        or (there[destination].protocol == PROTOCOL and there[destination].gateway != gateway)
    ]
    unwanted = [
        destination
        for destination, route in there.items()
        if prune and route.protocol == PROTOCOL and destination not in wanted
    ]
    return [*add, *(f"route delete {destination} protocol {PROTOCOL}" for destination in unwanted)]


def present() -> dict[str, Route]:
    """Read the routes of the main table, destination to route. Of several to one destination, the one that is used."""
    best: dict[str, tuple[tuple[int, bool], Route]] = {}
    for destination, route, metric in _routes():
        rank = (metric, route.protocol != PROTOCOL)
        if destination not in best or rank < best[destination][0]:
            best[destination] = rank, route
    return {destination: route for destination, (_, route) in best.items()}


def remove_all() -> list[str]:
    """Remove every route of ours; give their destinations."""
    ours = [destination for destination, route, _ in _routes() if route.protocol == PROTOCOL]
    for destination in ours:
        argv = ["ip", "route", "delete", destination, "protocol", PROTOCOL]
        subprocess.run(argv, capture_output=True, timeout=LIMIT, check=True)
    return ours


def _routes() -> Iterator[tuple[str, Route, int]]:
    """Read destinations, routes and metrics."""
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        argv = ["ip", family, "-json", "-N", "route", "show"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
        for one in json.loads(done.stdout or "[]"):
            destination = everything if one["dst"] == "default" else str(Network.of(one["dst"]))
            # ip does not print the protocol of routes that were made by hand.
            yield destination, Route(one.get("gateway", ""), str(one.get("protocol", "boot"))), one.get("metric", 0)


def _missing(wanted: Mapping[str, str], there: Mapping[str, Route]) -> Iterable[str]:
    """Yield which pods cannot be reached, and why."""
    for destination, gateway in wanted.items():
        route = there.get(destination)
        if route is None:
            yield f"no route to {destination}: {gateway} is on no network of this node"
        elif route.gateway != gateway:
            yield (
                f"the route to {destination} leads to {route.gateway or 'a link'} instead of {gateway}, and is not "
                f"ours (protocol {route.protocol}): remove it, or set node_routes = false"
            )
