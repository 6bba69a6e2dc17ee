"""What the agent follows at the Kubernetes API, and whom it tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from socklb.api import marks
from socklb.api.failures import ApiError

# Services that another proxy serves, and headless ones, need not be sent; a label set or removed later is an event.
PROXIED = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"

Found = TypeVar("Found")


class Resource(NamedTuple):
    """Where objects of a kind are.

    optional: an older server may not have it, and the rights of an older installation may not cover it: the node is
        served without.
    title: what people read, where it is not all of a kind.
    """

    kind: str
    path: str
    labels: str = ""
    fields: str = ""
    optional: bool = False
    title: str = ""

    @property
    def name(self) -> str:
        """What it is called in logs and problems."""
        return self.title or self.kind

    @property
    def query(self) -> dict[str, str]:
        """The part of a query that says which objects are meant."""
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
    """Return the one Node that we are: a kubelet's report of any other node is not sent to us."""
    return NODES._replace(fields=f"metadata.name={name}", title="this node's Node")


def bypassing(node: str) -> tuple[Resource, ...]:
    """Return the resources that say which Pods are left out: our Pods, and Namespaces for those without a label."""
    here = f"spec.nodeName={node}"
    return (
        Resource("Pod", "/api/v1/pods", fields=here, optional=True, title="this node's Pods"),
        Resource("Namespace", "/api/v1/namespaces", labels=f"{marks.BYPASS}=true", optional=True),
    )


class Sink(Protocol[Found]):
    """Whom those who follow a resource tell; called in their threads."""

    def read(self, resource: Resource, raw: bytes) -> Found:
        """Make of JSON, as the server sent it, what the other methods are told."""
        ...

    def replaced(self, resource: Resource, found: list[Found]) -> None:
        """All objects that there are."""
        ...

    def changed(self, found: Found, *, gone: bool) -> None:
        """One object as it is, or as it was before it went."""
        ...

    def lost(self, resource: Resource, names: Iterable[str]) -> None:
        """Objects that are not there any more."""
        ...

    def reached(self, resource: Resource) -> None:
        """The server does again what it should."""
        ...

    def failed(self, resource: Resource, error: ApiError, retry: float, *, without: bool) -> None:
        """It does not; the next try is `retry` seconds from now. `without`: nothing waits for this resource."""
        ...
