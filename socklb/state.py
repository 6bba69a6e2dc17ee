"""What the cluster says at present: Services with their EndpointSlices, and Nodes.

    affected = state.apply(batch.changes)

The cost of a change depends on the changed object, not on the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from socklb.api.objects import EndpointSlice, Node, Service
from socklb.api.source import Change

Value = TypeVar("Value")


class Affected(NamedTuple):
    """Keys of the Services (with or without a Service object) and Nodes that changes are about."""

    services: frozenset[str]
    nodes: frozenset[str]


class State:
    """Objects by key. EndpointSlices are kept below the Service that their label names, which may not exist yet."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.nodes: dict[str, Node] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._slice_service: dict[str, str] = {}

    def apply(self, changes: Iterable[Change]) -> Affected:
        """Take over changes and say which Services and Nodes they are about."""
        services: set[str] = set()
        nodes: set[str] = set()
        for change in changes:
            match change:
                case Change("EndpointSlice", key, EndpointSlice() | None as slice_):
                    services |= self._file_slice(key, slice_)
                case Change("Service", key, Service() | None as service):
                    put(self.services, key, service)
                    services.add(key)
                case Change("Node", key, Node() | None as node):
                    put(self.nodes, key, node)
                    nodes.add(key)
                case _:
                    raise TypeError(f"{change.kind} {change.key} with {type(change.object).__name__}")
        return Affected(frozenset(services), frozenset(nodes))

    def slices(self, service: str) -> tuple[EndpointSlice, ...]:
        """Give the EndpointSlices of a Service."""
        return tuple(self._slices.get(service, {}).values())

    def _file_slice(self, key: str, slice_: EndpointSlice | None) -> set[str]:
        """Keep, move or drop a slice; give the Services that had it and have it now."""
        before = self._slice_service.pop(key, None)
        after = slice_.service if slice_ else None
        if before is not None and before != after:
            self._slices[before].pop(key)
            if not self._slices[before]:
                del self._slices[before]
        if slice_ and after is not None:
            self._slices.setdefault(after, {})[key] = slice_
            self._slice_service[key] = after
        return {service for service in (before, after) if service is not None}


def put(objects: dict[str, Value], key: str, value: Value | None) -> None:
    """Keep a value by its key; None: it is gone."""
    if value is None:
        objects.pop(key, None)
    else:
        objects[key] = value
