"""Good objects of every kind that the agent reads, with every field that it reads: the fuzz tests spoil them."""

from typing import Any

from hypothesis import strategies as st

from tests.unit.agent.shapes import endpoint, endpoint_slice, node, service

Raw = dict[str, Any]

PORTS = [
    {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 32000},
    {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 32001},
]
SERVICES = [
    service(metadata={"namespace": "shop", "annotations": {"socklb.io/balance": "least-loaded"}}, ports=PORTS[:1]),
    service(
        type="LoadBalancer",
        clusterIP="10.96.0.10",
        clusterIPs=["10.96.0.10", "fd00:10:96::10"],
        ipFamilies=["IPv4", "IPv6"],
        ports=PORTS,
        externalIPs=["198.51.100.1", "203.0.113.1"],
        loadBalancerSourceRanges=["10.0.0.0/8", "fd00::/8"],
        internalTrafficPolicy="Cluster",
        externalTrafficPolicy="Local",
        healthCheckNodePort=32500,
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        allocateLoadBalancerNodePorts=True,
        ingress=({"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.example.com"}),
        metadata={"generation": 3, "labels": {"app": "web"}, "annotations": {"socklb.io/on-removal": "reset"}},
    ),
    service(clusterIPs=["None"], ports=[]),
    service(type="ExternalName", clusterIPs=[], externalName="web.example.com"),
]
SLICES = [
    endpoint_slice(
        name="web-a",
        ports=[{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
        endpoints=[
            endpoint("10.244.1.2", "w1", nodes=("w1",), zones=("a",), ready=True, serving=True, terminating=False),
            endpoint("10.244.2.3", "w2", nodes=("w2",), zones=("b",), ready=False, serving=True, terminating=True),
        ],
    ),
    endpoint_slice(name="web-b", addressType="IPv6", endpoints=[endpoint("fd00::2", "w1")]),
    endpoint_slice(name="web-c", addressType="FQDN", endpoints=[endpoint("web.example.com")]),
]
NODES = [
    node("w1", "172.18.0.3", "fd00:172::3", zone="a")
    | {"spec": {"podCIDRs": ["10.244.1.0/24"], "taints": [{"key": "node.cloudprovider.kubernetes.io/shutdown"}]}},
    node("w2", "172.18.0.4", kind="ExternalIP"),
]
CIDRS = [
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": ["10.96.0.0/12", "fd00:10:96::/112"]},
    }
]
LABELS = {"socklb.io/bypass": "true"}
PODS = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "0f4e-11", "labels": LABELS},
        "status": {"phase": "Running"},
    },
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": LABELS}},
]
OF_MANIFESTS: list[Raw] = [*SERVICES, *SLICES, *NODES, *CIDRS]
OF_API: list[Raw] = [*OF_MANIFESTS, *PODS]


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Raw]:
    """Lists as kubectl and the API server write them."""
    types = st.sampled_from((("v1", "List"), ("v1", "ServiceList"), ("discovery.k8s.io/v1", "EndpointSliceList")))
    return st.builds(lambda type_, items: {"apiVersion": type_[0], "kind": type_[1], "items": items}, types, items)
