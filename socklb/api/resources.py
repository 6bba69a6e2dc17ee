"""What the agent follows at the Kubernetes API, and the interface of those who are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from socklb.api import marks
from socklb.api.failures import ApiError

# Leaves out Services of another proxy and headless ones; a label that is set or removed later is an event.
PROXIED = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"

Found = TypeVar("Found")


class Resource(NamedTuple):
    """Where the objects of a kind are.

    optional: an older server may not have it, and the permissions of an older installation may not cover it: the node
    is served without it.
    title: the name for people, if it is not all objects of a kind.
    """

    kind: str
    path: str
    labels: str = ""
    fields: str = ""
    optional: bool = False
    title: str = ""

    @property
    def name(self) -> str:
        """Return its name in logs and problems."""
        return self.title or self.kind

    @property
    def query(self) -> dict[str, str]:
        """Return the part of the query that selects the objects."""
        parts = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in parts.items() if value}


NODES = Resource("Node", "/api/v1/nodes")
RESOURCES = (
    Resource("Service", "/api/v1/services", PROXIED),
    Resource("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices", PROXIED),
    NODES,
    Resource("ServiceCIDR", "/apis/networking.k8s.io/v1/servicecidrs", optional=True),
)


def own_node(name: str) -> Resource:
    """Return the resource of this node's Node alone, so that no other kubelet's report is sent to this agent."""
    return NODES._replace(fields=f"metadata.name={name}", title="this node's Node")


def bypassing(node: str) -> tuple[Resource, ...]:
    """Return the resources that decide which Pods are left out: this node's Pods, and Namespaces for Pods without a
    label.
    """
    here = f"spec.nodeName={node}"
    return (
        Resource("Pod", "/api/v1/pods", fields=here, optional=True, title="this node's Pods"),
        Resource("Namespace", "/api/v1/namespaces", labels=f"{marks.BYPASS}=true", optional=True),
    )


class Sink(Protocol[Found]):
    """The receiver of what followers find; called in their threads."""

    def read(self, resource: Resource, raw: bytes) -> Found:
        """Decode JSON, as the server sent it, for the other methods."""
        ...

    def replaced(self, resource: Resource, found: list[Found]) -> None:
        """Take over all objects that exist."""
        ...

    def changed(self, found: Found, *, gone: bool) -> None:
        """Take over one object: its present state, or with `gone` its last one before it was deleted."""
        ...

    def lost(self, resource: Resource, names: Iterable[str]) -> None:
        """Take over that these objects do not exist any more."""
        ...

    def reached(self, resource: Resource) -> None:
        """Note that the server works again."""
        ...

    def failed(self, resource: Resource, error: ApiError, retry: float, *, without: bool) -> None:
        """Note a failure; the next try is in `retry` seconds. `without`: nothing waits for this resource."""
        ...
