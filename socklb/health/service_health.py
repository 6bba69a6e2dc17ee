"""healthCheckNodePort: load balancers ask there whether this node has endpoints of a Service.

    node_ports.update(state, affected)

There is one for every Service of type LoadBalancer with externalTrafficPolicy Local. The answers are kube-proxy's: 200
while a ready endpoint is on this node, 503 if there are none or only terminating ones. For a dual-stack Service the
family with more endpoints counts.

A port that cannot be listened at is only a problem; it is tried again at each change, and by `retry`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from socklb.api.addresses import parse_address
from socklb.api.marks import OTHERS
from socklb.api.objects import EndpointSlice, Service
from socklb.api.source import Problem
from socklb.desired.store import Affected, ObjectStore
from socklb.health.server import Answer, HttpServer, Listener
from socklb.listen_address import ListenAddress


class HealthCheck(NamedTuple):
    """The answer of a port about a Service."""

    port: int
    namespace: str
    name: str
    local_endpoints: int


def health_check(service: Service, slices: Iterable[EndpointSlice], node: str) -> HealthCheck | None:
    """Return the answer for a Service on a node; None if it needs none. Pure."""
    spec, metadata = service.spec, service.metadata
    if spec.type != "LoadBalancer" or spec.externalTrafficPolicy != "Local" or not spec.healthCheckNodePort:
        return None
    if not OTHERS.isdisjoint(metadata.labels):
        return None
    found = (_ready_on(node, family, slices) for family in ("IPv4", "IPv6"))
    return HealthCheck(spec.healthCheckNodePort, metadata.namespace, metadata.name, max(map(len, found)))


def _ready_on(node: str, family: str, slices: Iterable[EndpointSlice]) -> set[bytes]:
    return {
        parse_address(endpoint.addresses[0])
        for slice_ in slices
        if slice_.addressType == family and any(port.port for port in slice_.ports)
        for endpoint in slice_.endpoints
        if endpoint.nodeName == node and endpoint.conditions.ready
    }


class NodePorts:
    """The ports of this node's health checks. `healthy` returns whether the agent itself is."""

    def __init__(self, node: str, server: HttpServer, healthy: Callable[[], bool]) -> None:
        self._node, self._server, self._healthy = node, server, healthy
        self._checks: dict[str, HealthCheck] = {}  # by Service
        self._open: dict[int, tuple[str, Listener]] = {}  # by port, with the Service
        self._closed: dict[str, str] = {}  # Services whose port is not open, and why

    @property
    def problems(self) -> list[Problem]:
        """Return the ports that should be open and are not."""
        return [
            Problem("", 0, "spec.healthCheckNodePort", f"{self._checks[key].port} {why}", f"Service/{key}")
            for key, why in sorted(self._closed.items())
        ]

    @property
    def listening(self) -> dict[str, str]:
        """Return the address of each Service's port."""
        return {f"Service/{key}": str(listener.address) for key, listener in sorted(self._open.values())}

    def update(self, state: ObjectStore, affected: Affected) -> None:
        """Take over the affected Services: first close ports, then open others."""
        for key in affected.services:
            service = state.services.get(key)
            check = health_check(service, state.slices(key), self._node) if service else None
            self._exchange(key, check)
        self.retry()

    def retry(self) -> None:
        """Try again to open the ports that could not be opened."""
        for key in sorted(self._closed):
            port = self._checks[key].port
            if port in self._open:
                self._closed[key] = f"belongs to Service {self._open[port][0]}"
                continue
            try:
                listener = self._server.listen(ListenAddress("::", port), partial(self._answer, key))
            except OSError as error:
                self._closed[key] = f"cannot be listened at: {error.strerror}"
            else:
                self._open[port] = (key, listener)
                del self._closed[key]

    def _exchange(self, key: str, check: HealthCheck | None) -> None:
        old = self._checks.pop(key, None)
        if check is not None:
            self._checks[key] = check
        if (old and old.port) == (check and check.port):
            return
        self._closed.pop(key, None)
        if old is not None and self._open.get(old.port, ("",))[0] == key:
            self._server.close(self._open.pop(old.port)[1])
        if check is not None:
            self._closed[key] = ""

    def _answer(self, key: str, _path: str, _accept: str) -> Answer:
        """Return the answer of a port; called in the server's threads."""
        check, healthy = self._checks.get(key), self._healthy()
        if check is None:
            return Answer(503, b"")  # it was deleted just now
        body = {
            "service": {"namespace": check.namespace, "name": check.name},
            "localEndpoints": check.local_endpoints,
            "serviceProxyHealthy": healthy,
        }
        headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(check.local_endpoints),
        }
        status = 200 if check.local_endpoints and healthy else 503
        return Answer(status, json.dumps(body).encode(), "application/json", headers)
