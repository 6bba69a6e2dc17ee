"""The Kubernetes objects that the agent reads: Service, EndpointSlice, Node, ServiceCIDR, Pod and Namespace, with the
fields that it uses.

Fields have the names of the Kubernetes API; other fields are ignored. `decode.py` makes these objects and checks what
types cannot express.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from socklb.api import marks

Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrNone = Annotated[int, Meta(ge=0, le=65535)]  # 0 and absent mean the same
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z", max_length=253)]
Protocol = Literal["TCP", "UDP", "SCTP"]
IPFamily = Literal["IPv4", "IPv6"]
TrafficPolicy = Literal["Cluster", "Local"]


# gc=False: these never form cycles, and a large cluster has hundreds of thousands of them.
class ObjectMeta(Struct, frozen=True, gc=False):
    name: Name
    namespace: Name = "default"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    generation: int | None = None
    deletionTimestamp: str = ""  # noqa: N815

    def __post_init__(self) -> None:
        """Drop what is not read. It was decoded first, so that a value that is not a string is refused."""
        force_setattr(self, "labels", marks.kept(self.labels))
        force_setattr(self, "annotations", marks.kept(self.annotations))


class NodeMeta(ObjectMeta, frozen=True, gc=False):
    creationTimestamp: str = ""  # noqa: N815


class ServicePort(Struct, frozen=True, gc=False):
    port: Port
    name: str = ""
    protocol: Protocol = "TCP"
    nodePort: PortOrNone = 0  # noqa: N815


class ClientIPConfig(Struct, frozen=True, gc=False):
    timeoutSeconds: Annotated[int, Meta(ge=1, le=86400)] = 10800  # noqa: N815


class SessionAffinityConfig(Struct, frozen=True, gc=False):
    clientIP: ClientIPConfig = ClientIPConfig()  # noqa: N815


class ServiceSpec(Struct, frozen=True, gc=False):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    clusterIP: str = ""  # noqa: N815
    clusterIPs: tuple[str, ...] = ()  # noqa: N815
    ipFamilies: tuple[IPFamily, ...] = ()  # noqa: N815
    ports: tuple[ServicePort, ...] = ()
    internalTrafficPolicy: TrafficPolicy = "Cluster"  # noqa: N815
    externalTrafficPolicy: TrafficPolicy = "Cluster"  # noqa: N815
    externalIPs: tuple[str, ...] = ()  # noqa: N815
    loadBalancerSourceRanges: tuple[str, ...] = ()  # noqa: N815
    healthCheckNodePort: PortOrNone = 0  # noqa: N815
    allocateLoadBalancerNodePorts: bool = True  # noqa: N815
    sessionAffinity: Literal["None", "ClientIP"] = "None"  # noqa: N815
    sessionAffinityConfig: SessionAffinityConfig = SessionAffinityConfig()  # noqa: N815

    @property
    def cluster_ips(self) -> tuple[str, ...]:
        """Return the addresses of either field; none for a headless Service."""
        return tuple(ip for ip in self.clusterIPs or (self.clusterIP,) if ip not in {"", "None"})

    @property
    def headless(self) -> bool:
        """Return whether clusterIP is None, so that nothing proxies the Service. An absent field does not mean that."""
        return "None" in (self.clusterIPs or (self.clusterIP,))

    @property
    def affinity_seconds(self) -> int:
        """Return how long a client keeps its endpoint; 0: it may get another one each time."""
        return self.sessionAffinityConfig.clientIP.timeoutSeconds if self.sessionAffinity == "ClientIP" else 0


class LoadBalancerIngress(Struct, frozen=True, gc=False):
    ip: str = ""  # a load balancer with only a hostname is not served
    ipMode: Literal["VIP", "Proxy"] = "VIP"  # noqa: N815


class LoadBalancerStatus(Struct, frozen=True, gc=False):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Struct, frozen=True, gc=False):
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()  # noqa: N815


class Service(Struct, frozen=True, gc=False):
    metadata: ObjectMeta
    spec: ServiceSpec
    status: ServiceStatus = ServiceStatus()

    kind: ClassVar[str] = "Service"

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


class EndpointConditions(Struct, frozen=True, gc=False):
    ready: bool = True  # absent means ready
    serving: bool | None = None  # absent means the same as `ready`
    terminating: bool = False

    @property
    def serving_to_the_end(self) -> bool:
        """Return whether it still serves although it is terminating."""
        return self.terminating and (self.ready if self.serving is None else self.serving)


class Hint(Struct, frozen=True, gc=False):
    name: str


class EndpointHints(Struct, frozen=True, gc=False):
    forNodes: tuple[Hint, ...] = ()  # noqa: N815
    forZones: tuple[Hint, ...] = ()  # noqa: N815


class Endpoint(Struct, frozen=True, gc=False):
    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    conditions: EndpointConditions = EndpointConditions()
    nodeName: str = ""  # noqa: N815
    hints: EndpointHints = EndpointHints()


class EndpointPort(Struct, frozen=True, gc=False):
    name: str = ""
    port: PortOrNone = 0
    protocol: Protocol = "TCP"


class EndpointSlice(Struct, frozen=True, gc=False):
    metadata: ObjectMeta
    addressType: Literal["IPv4", "IPv6", "FQDN"]  # noqa: N815
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    kind: ClassVar[str] = "EndpointSlice"

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def service(self) -> str | None:
        """Return the key of the Service that this slice belongs to."""
        name = self.metadata.labels.get(marks.SERVICE_NAME)
        return f"{self.metadata.namespace}/{name}" if name else None


class Taint(Struct, frozen=True, gc=False):
    key: str


class NodeSpec(Struct, frozen=True, gc=False):
    taints: tuple[Taint, ...] = ()
    podCIDRs: tuple[str, ...] = ()  # noqa: N815


class NodeAddress(Struct, frozen=True, gc=False):
    type: str
    address: str


class NodeStatus(Struct, frozen=True, gc=False):
    addresses: tuple[NodeAddress, ...] = ()


class Node(Struct, frozen=True, gc=False):
    metadata: NodeMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    kind: ClassVar[str] = "Node"

    @property
    def zone(self) -> str:
        """Return the zone in its label; empty without one."""
        return self.metadata.labels.get(marks.ZONE, "")

    @property
    def key(self) -> str:
        """The name: a Node has no namespace."""
        return self.metadata.name


class ServiceCIDRSpec(Struct, frozen=True, gc=False):
    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Struct, frozen=True, gc=False):
    metadata: ObjectMeta
    spec: ServiceCIDRSpec = ServiceCIDRSpec()

    kind: ClassVar[str] = "ServiceCIDR"

    @property
    def key(self) -> str:
        """The name: a ServiceCIDR has no namespace."""
        return self.metadata.name


class PodMeta(ObjectMeta, frozen=True, gc=False):
    uid: str = ""


class PodStatus(Struct, frozen=True, gc=False):
    phase: str = ""


class Pod(Struct, frozen=True, gc=False):
    metadata: PodMeta
    status: PodStatus = PodStatus()

    kind: ClassVar[str] = "Pod"

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def cgroup_uid(self) -> str:
        """Return the UID in the name of its cgroup: for a static Pod, that of the kubelet's file."""
        return self.metadata.annotations.get(marks.CONFIG_HASH) or self.metadata.uid

    @property
    def ended(self) -> bool:
        """Return whether none of its containers will run any more."""
        return self.status.phase in {"Succeeded", "Failed"}


class Namespace(Struct, frozen=True, gc=False):
    metadata: ObjectMeta

    kind: ClassVar[str] = "Namespace"

    @property
    def key(self) -> str:
        """The name."""
        return self.metadata.name


Object = Service | EndpointSlice | Node | ServiceCIDR | Pod | Namespace
