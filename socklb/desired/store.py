"""The objects of the cluster as last seen: Services with their EndpointSlices, Nodes, ServiceCIDRs; and, where Pods may
be left out, this node's Pods and the Namespaces.

    affected = state.apply(batch.changes)

The cost of a change depends on the changed object, not on the size of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from socklb.api.objects import EndpointSlice, Namespace, Node, Pod, Service, ServiceCIDR
from socklb.api.source import Change

Value = TypeVar("Value")

NOBODY = "/"  # followed by a slice's key: the key for a slice without a Service. No Service has such a key


class Affected(NamedTuple):
    """Keys of the Services (with or without a Service object) and Nodes that changes affect."""

    services: frozenset[str]
    nodes: frozenset[str]


class ObjectStore:
    """Objects by key. EndpointSlices are kept under the Service that their label names, which may not exist (yet)."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.nodes: dict[str, Node] = {}
        self.service_cidrs: dict[str, ServiceCIDR] = {}
        self.pods: dict[str, Pod] = {}
        self.namespaces: dict[str, Namespace] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = {}
        self._slice_service: dict[str, str] = {}

    def apply(self, changes: Iterable[Change]) -> Affected:
        """Take over changes and return which Services and Nodes they affect."""
        services: set[str] = set()
        nodes: set[str] = set()
        for change in changes:
            kind, key, object_ = change
            if kind == "EndpointSlice" and (object_ is None or isinstance(object_, EndpointSlice)):
                services.update(self._file_slice(key, object_))
            elif kind == "Service" and (object_ is None or isinstance(object_, Service)):
                put(self.services, key, object_)
                services.add(key)
            elif kind == "Node" and (object_ is None or isinstance(object_, Node)):
                put(self.nodes, key, object_)
                nodes.add(key)
            elif kind == "ServiceCIDR" and (object_ is None or isinstance(object_, ServiceCIDR)):
                put(self.service_cidrs, key, object_)
            elif kind == "Pod" and (object_ is None or isinstance(object_, Pod)):
                put(self.pods, key, object_)
            elif kind == "Namespace" and (object_ is None or isinstance(object_, Namespace)):
                put(self.namespaces, key, object_)
            else:
                raise TypeError(f"{kind} {key} with {type(object_).__name__}")
        return Affected(frozenset(services), frozenset(nodes))

    @property
    def everything(self) -> Affected:
        """Return all Services, including those that only EndpointSlices name, and all Nodes, as if each had changed."""
        return Affected(frozenset(self.services.keys() | self._slices.keys()), frozenset(self.nodes))

    def slices(self, service: str) -> tuple[EndpointSlice, ...]:
        """Return the EndpointSlices of a Service."""
        return tuple(self._slices.get(service, {}).values())

    def _file_slice(self, key: str, slice_: EndpointSlice | None) -> set[str]:
        """Keep, move or drop a slice; return the Service that had it and the one that has it now."""
        before = self._slice_service.pop(key, None)
        after = slice_.service or f"{NOBODY}{key}" if slice_ else None
        if before is not None and before != after:
            self._slices[before].pop(key)
            if not self._slices[before]:
                del self._slices[before]
        if slice_ and after is not None:
            self._slices.setdefault(after, {})[key] = slice_
            self._slice_service[key] = after
        return {service for service in (before, after) if service is not None}


def put(objects: dict[str, Value], key: str, value: Value | None) -> None:
    """Keep a value under its key; None: remove it."""
    if value is None:
        objects.pop(key, None)
    else:
        objects[key] = value
