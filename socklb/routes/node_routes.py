"""Routes to the pods of other nodes through each node's own address: native routing, without a tunnel.

    routes = NodeRoutes(config)
    supervisor.keep("node routes", routes.looked_after)
    routes.update(state, affected.nodes, complete=batch.complete)

This is for nodes of one network: a node that is not a neighbour gets no route, and is named among the problems. A
Node's networks are accepted within pod_cidrs only (pod_networks.py). Our routes have a protocol number of their own.
Other routes are neither changed nor removed, except one that replaced ours: what happens to our routes is noticed at
the next check, reported, and undone. When the agent stops, they stay.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
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

PROTOCOL = "83"  # "S": has no name in rt_protos, and no other program uses it
EVERY = 5.0  # seconds between two checks: a link that goes down loses its routes
LIMIT = 30.0  # seconds for one call of ip
REMEMBERED = 120.0  # seconds that damage is shown after its repair
UNBOUNDED = (
    "none is made: without pod_cidrs every network that a Node names would be believed; "
    'next: set pod_cidrs to the networks of all pods, as in ["10.244.0.0/16"]'
)

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """A route as the kernel has it: its gateway, and the protocol that made it."""

    gateway: str
    protocol: str


class NodeRoutes:
    """See the module. With `node_routes = false` in the configuration it only removes what an earlier agent made."""

    def __init__(self, config: Config) -> None:
        """Start without any route; those of an earlier agent stay until everything is known."""
        self._node = config.node
        self._enabled = config.node_routes and bool(config.pod_cidrs)
        self._unbounded = config.node_routes and not config.pod_cidrs
        if self._unbounded:
            log.error("node routes: %s", UNBOUNDED)
        self._complete = False
        self._of_node: dict[str, dict[str, str]] = {}
        self._networks = PodNetworks(config.pod_cidrs)
        self._well: dict[str, str] = {}  # what the last check found or made right
        self._failures: tuple[str, ...] = ()
        self._damage: Troubles[str] = Troubles()
        self._due: asyncio.Event | None = None  # set while they are maintained

    @property
    def problems(self) -> list[Problem]:
        """Return what is wrong at present, and what was repaired recently."""
        texts = [UNBOUNDED] if self._unbounded else self._failures
        refused = [
            Problem("", 0, "spec.podCIDRs", f"no route to it: {reason}", f"Node/{name}")
            for name, reasons in sorted(self._networks.refused.items())
            for reason in reasons
        ]
        return [*(Problem("", 0, "", f"node routes: {text}") for text in texts), *refused, *self._damage.problems]

    def update(self, state: ObjectStore, nodes: Iterable[str], *, complete: bool) -> None:
        """Take over these Nodes. Routes without a Node are pruned only if `complete`."""
        if not self._enabled:
            return
        found = {name: state.nodes.get(name) for name in nodes}
        first = complete and not self._complete
        if not found and not first:  # a change of a Service must not cost more in a larger cluster
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
        """Make the kernel's routes what they should be. A failure is reported once and tried again."""
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
        self._damage.settle_older(REMEMBERED)

    def wanted(self) -> dict[str, str]:
        """Return destination to gateway, for all Nodes except this node's."""
        routes: dict[str, str] = {}
        for network, name in self._networks.held.items():
            destination = str(network)
            if name != self._node and destination in self._of_node[name]:
                routes[destination] = self._of_node[name][destination]
        return routes

    def leave(self) -> None:
        """Remove the routes of an earlier agent, which nobody maintains any more. Failures are logged."""
        try:
            removed = remove_all()
        except FileNotFoundError:
            return  # where there is no ip, no agent made any
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            log.warning("node routes: those of an earlier agent stay: %s; next: socklb cleanup", error)
        else:
            if removed:
                log.info("node routes: %d are removed, because node_routes is false", len(removed))

    async def looked_after(self) -> None:
        """Maintain the routes in a thread, so that nothing waits for them. Does not end; afterwards they stay."""
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
    """The result of a check of the routes."""

    well: dict[str, str]  # routes that are right now
    failures: tuple[str, ...] = ()
    damage: Mapping[str, str] = MappingProxyType({})  # repaired, by destination


def look(wanted: Mapping[str, str], well: Mapping[str, str], *, prune: bool) -> Look:
    """Make the kernel's routes what they should be; `well` are those that were right before."""
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
        # One by one: a node that is not a neighbour must not prevent the others' routes.
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
    """Return a node's pod networks, each with the node's first internal address of the same family as its gateway."""
    internal = [parse_address(one.address) for one in node.status.addresses if one.type == "InternalIP"]
    gateways = {is_ipv4(address): address_text(address) for address in reversed(internal)}
    networks = [Network.parse(cidr) for cidr in node.spec.podCIDRs]
    return {str(network): gateways[network.is_ipv4] for network in networks if network.is_ipv4 in gateways}


def changes(
    wanted: Mapping[str, str], there: Mapping[str, Route], *, prune: bool, ours: Collection[str] = ()
) -> list[str]:
    """Return the commands of `ip -batch` that turn the present routes into the wanted ones.

    `ours`: destinations that had our route, whoever has replaced it.
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
    """Return the routes of the main table by destination. Of several for one destination, the one that is used."""
    best: dict[str, tuple[tuple[int, bool], Route]] = {}
    for destination, route, metric in _routes():
        rank = (metric, route.protocol != PROTOCOL)
        if destination not in best or rank < best[destination][0]:
            best[destination] = rank, route
    return {destination: route for destination, (_, route) in best.items()}


def remove_all() -> list[str]:
    """Remove every route of ours; return their destinations."""
    ours = [destination for destination, route, _ in _routes() if route.protocol == PROTOCOL]
    for destination in ours:
        argv = ["ip", "route", "delete", destination, "protocol", PROTOCOL]
        subprocess.run(argv, capture_output=True, timeout=LIMIT, check=True)
    return ours


def _routes() -> Iterator[tuple[str, Route, int]]:
    """Yield destinations, routes and metrics."""
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        argv = ["ip", family, "-json", "-N", "route", "show"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
        for one in json.loads(done.stdout or "[]"):
            destination = everything if one["dst"] == "default" else str(Network.of(one["dst"]))
            # ip does not print the protocol of routes that were added by hand.
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
