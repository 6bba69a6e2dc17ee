"""From documents to objects: what is taken, and what is refused with its field, value and remedy."""

from typing import Any

import pytest

from socklb.api.checks import ObjectError
from socklb.api.decode import identify, read_object
from socklb.api.objects import EndpointSlice, Node, Service
from tests.unit.agent.shapes import endpoint_slice, node, read, service


def test_a_service_is_read_and_fields_of_no_use_are_ignored() -> None:
    raw = service(sessionAffinity="None", selector={"app": "web"}, ports=[{"port": 80, "targetPort": "http", "x": []}])
    found = read(raw, Service)
    assert (found.key, found.spec.cluster_ips, found.spec.ports[0].protocol) == ("default/web", ("10.96.0.10",), "TCP")


def test_an_endpoint_slice_knows_its_service_and_its_generation() -> None:
    found = read(endpoint_slice("web", generation=7), EndpointSlice)
    assert (found.key, found.service, found.metadata.generation) == ("default/web-ipv4", "default/web", 7)


def test_an_endpoint_without_conditions_is_ready() -> None:
    found = read(endpoint_slice(endpoints=[{"addresses": ["10.1.1.1"]}]), EndpointSlice)
    assert found.endpoints[0].conditions.ready


def test_a_node_has_no_namespace() -> None:
    assert read(node("w1", "172.18.0.3"), Node).key == "w1"


def test_a_node_says_its_zone_by_a_label() -> None:
    assert read(node("w1", zone="a"), Node).zone == "a"
    assert read(node("w1"), Node).zone == ""


@pytest.mark.parametrize(
    ("spec", "ips"),
    [
        ({"clusterIPs": ["10.96.0.1", "fd00::1"], "clusterIP": "10.96.0.1"}, ("10.96.0.1", "fd00::1")),
        ({"clusterIPs": [], "clusterIP": "10.96.0.1"}, ("10.96.0.1",)),
        ({"clusterIPs": ["None"], "clusterIP": "None"}, ()),
        ({"clusterIPs": [], "clusterIP": ""}, ()),
    ],
)
def test_cluster_ips_stand_in_either_field(spec: dict[str, Any], ips: tuple[str, ...]) -> None:
    assert read(service(**spec), Service).spec.cluster_ips == ips


@pytest.mark.parametrize(
    "raw",
    [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {}},
        {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice"},
    ],
    ids=["another kind", "a Service of another group", "an old version"],
)
def test_other_kinds_are_passed_over(raw: dict[str, Any]) -> None:
    assert read_object(raw) is None


PORTS = "1 to 65535"
REFUSED: dict[str, tuple[Any, str, str]] = {
    "no mapping": ([1], "", "no Kubernetes object; valid: a mapping"),
    "a string": ("hello", "", "no Kubernetes object ('hello'); valid: a mapping"),
    "no kind": ({"apiVersion": "v1"}, "kind", "missing or no string; valid: a kind, as in Service"),
    "no apiVersion": (
        {"kind": "Service"},
        "apiVersion",
        "missing or no string; valid: a version, as in v1",
    ),
    "kind is a list": (
        {"apiVersion": "v1", "kind": [1]},
        "kind",
        "missing or no string; valid: a kind, as in Service",
    ),
    "no name": ({"apiVersion": "v1", "kind": "Node", "metadata": {}}, "metadata.name", "missing"),
    "no spec": ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}, "spec", "missing"),
    "name with capitals": (
        service("Web"),
        "metadata.name",
        "not allowed ('Web'); valid: lower case letters, digits, '-' and '.'",
    ),
    "port too large": (
        service(ports=[{"port": 99999}]),
        "spec.ports[0].port",
        f"expected `int` <= 65535 (99999); valid: {PORTS}",
    ),
    "port zero": (service(ports=[{"port": 0}]), "spec.ports[0].port", f"expected `int` >= 1 (0); valid: {PORTS}"),
    "port as text": (
        service(ports=[{"port": 80}, {"port": "81"}]),
        "spec.ports[1].port",
        f"expected `int`, got `str` ('81'); valid: {PORTS}",
    ),
    "no port": (service(ports=[{"name": "http"}]), "spec.ports[0].port", "missing"),
    "node port too large": (
        service(ports=[{"port": 80, "nodePort": 70000}]),
        "spec.ports[0].nodePort",
        f"expected `int` <= 65535 (70000); valid: {PORTS}",
    ),
    "ports is a mapping": (service(ports={"port": 80}), "spec.ports", "expected `array`, got `object`"),
    "no ports": (service(ports=[]), "spec.ports", "missing; valid: at least one port"),
    "a port twice": (service(ports=[{"port": 80}, {"port": 80}]), "spec.ports[1].port", "twice in this Service (80)"),
    "unknown protocol": (
        service(ports=[{"port": 80, "protocol": "tcp"}]),
        "spec.ports[0].protocol",
        "not allowed ('tcp'); valid: TCP, UDP, SCTP",
    ),
    "unknown type": (
        service(type="Nodeport"),
        "spec.type",
        "not allowed ('Nodeport'); valid: ClusterIP, NodePort, LoadBalancer, ExternalName",
    ),
    "unknown internal policy": (
        service(internalTrafficPolicy="local"),
        "spec.internalTrafficPolicy",
        "not allowed ('local'); valid: Cluster, Local",
    ),
    "unknown external policy": (
        service(externalTrafficPolicy="Node"),
        "spec.externalTrafficPolicy",
        "not allowed ('Node'); valid: Cluster, Local",
    ),
    "cluster IP that is none": (
        service(clusterIPs=["10.96.0.10", "10.96.0"]),
        "spec.clusterIPs[1]",
        "no address ('10.96.0'); valid: an IPv4 or IPv6 address",
    ),
    "lone cluster IP that is none": (
        service(clusterIPs=[], clusterIP="x"),
        "spec.clusterIP",
        "no address ('x'); valid: an IPv4 or IPv6 address",
    ),
    "cluster IP that would stand for every NodePort": (
        service(clusterIPs=["0.0.0.0"]),
        "spec.clusterIPs[0]",
        "stands for every address ('0.0.0.0'); valid: one address",
    ),
    "node port twice": (
        service(ports=[{"port": 80, "nodePort": 32000}, {"port": 81, "nodePort": 32000}]),
        "spec.ports[1].nodePort",
        "twice in this Service (32000)",
    ),
    "health check port too large": (
        service(healthCheckNodePort=70000),
        "spec.healthCheckNodePort",
        f"expected `int` <= 65535 (70000); valid: {PORTS}",
    ),
    "external IP that is none": (
        service(externalIPs=["198.51.100.7", "198.51.100.0/24"]),
        "spec.externalIPs[1]",
        "no address ('198.51.100.0/24'); valid: an IPv4 or IPv6 address",
    ),
    "external IP that would stand for every NodePort": (
        service(externalIPs=["::"]),
        "spec.externalIPs[0]",
        "stands for every address ('::'); valid: one address",
    ),
    "external IPs as text": (
        service(externalIPs="198.51.100.7"),
        "spec.externalIPs",
        "expected `array`, got `str` ('198.51.100.7')",
    ),
    "source range without a prefix": (
        service(loadBalancerSourceRanges=["10.0.0.0/8", "10.0.0.1"]),
        "spec.loadBalancerSourceRanges[1]",
        "no CIDR ('10.0.0.1'); valid: a network, as in 10.0.0.0/8",
    ),
    "source range with too long a prefix": (
        service(loadBalancerSourceRanges=["10.0.0.0/33"]),
        "spec.loadBalancerSourceRanges[0]",
        "no CIDR ('10.0.0.0/33'); valid: a network, as in 10.0.0.0/8",
    ),
    "unknown affinity": (
        service(sessionAffinity="clientIP"),
        "spec.sessionAffinity",
        "not allowed ('clientIP'); valid: None, ClientIP",
    ),
    "affinity for no time": (
        service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "expected `int` >= 1 (0); valid: 1 to 86400",
    ),
    "affinity for more than a day": (
        service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "expected `int` <= 86400 (86401); valid: 1 to 86400",
    ),
    "annotation that is a number": (
        service(metadata={"annotations": {"a": 1}}),
        "metadata.annotations[...]",
        "expected `str`, got `int`",
    ),
    "load balancer's address that is none": (
        service(ingress=({"hostname": "lb.example"}, {"ip": "lb.example"})),
        "status.loadBalancer.ingress[1].ip",
        "no address ('lb.example'); valid: an IPv4 or IPv6 address",
    ),
    "load balancer's address that would stand for every NodePort": (
        service(ingress="0.0.0.0"),
        "status.loadBalancer.ingress[0].ip",
        "stands for every address ('0.0.0.0'); valid: one address",
    ),
    "unknown ipMode": (
        service(ingress=({"ip": "192.0.2.1", "ipMode": "DSR"},)),
        "status.loadBalancer.ingress[0].ipMode",
        "not allowed ('DSR'); valid: VIP, Proxy",
    ),
    "status as text": ({**service(), "status": "fine"}, "status", "expected `object`, got `str` ('fine')"),
    "label that is a number": (
        service(metadata={"labels": {"a": 1}}),
        "metadata.labels[...]",
        "expected `str`, got `int`",
    ),
    "endpoint that is no address": (
        endpoint_slice(endpoints=[{"addresses": ["10.1.1.1"]}, {"addresses": ["web.example"]}]),
        "endpoints[1].addresses[0]",
        "no address ('web.example'); valid: an IPv4 or IPv6 address",
    ),
    "endpoint of the other family": (
        endpoint_slice(endpoints=[{"addresses": ["fd00::1"]}]),
        "endpoints[0].addresses[0]",
        "not of addressType ('fd00::1'); valid: an IPv4 address",
    ),
    "endpoint without addresses": (
        endpoint_slice(endpoints=[{"addresses": []}]),
        "endpoints[0].addresses",
        "expected `array` of length >= 1; valid: 1 to 100 addresses",
    ),
    "ready as text": (
        endpoint_slice(endpoints=[{"addresses": ["10.1.1.1"], "conditions": {"ready": "yes"}}]),
        "endpoints[0].conditions.ready",
        "expected `bool`, got `str` ('yes')",
    ),
    "hint without a name": (
        endpoint_slice(endpoints=[{"addresses": ["10.1.1.1"], "hints": {"forZones": [{}]}}]),
        "endpoints[0].hints.forZones[0].name",
        "missing",
    ),
    "node address that is none": (
        node("w1", "w1.example"),
        "status.addresses[0].address",
        "no address ('w1.example'); valid: an IPv4 or IPv6 address",
    ),
}


@pytest.mark.parametrize(("raw", "field", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_mislead_is_refused_with_its_field(raw: Any, field: str, message: str) -> None:
    with pytest.raises(ObjectError) as refused:
        read_object(raw)
    assert (refused.value.field, str(refused.value)) == (field, message)


def test_tcp_and_udp_may_have_one_port_and_one_node_port() -> None:
    both = [{"name": p, "port": 80, "nodePort": 32000, "protocol": p} for p in ("TCP", "UDP")]
    assert read_object(service(ports=both))


def test_ports_without_a_node_port_have_none_in_common() -> None:
    assert read_object(service(ports=[{"port": 80, "nodePort": 0}, {"port": 81}]))


def test_an_fqdn_slice_may_hold_names() -> None:
    assert read_object(endpoint_slice(addressType="FQDN", endpoints=[{"addresses": ["web.example"]}]))


def test_a_hostname_of_a_node_is_no_address_and_fine() -> None:
    assert read_object(node("w1", "w1.example", kind="Hostname"))


@pytest.mark.parametrize(
    ("raw", "id_"),
    [
        (service("web", ports=[{}]), ("Service", "default/web")),
        (service("web", metadata={"namespace": "shop"}, ports=[{}]), ("Service", "shop/web")),
        (node("w1", "x"), ("Node", "w1")),
        ({"kind": "Service", "metadata": {"name": 5}}, None),
        ({"kind": "Service", "metadata": []}, None),
        ({"kind": "Service"}, None),
        ("text", None),
        ([], None),
    ],
)
def test_a_refused_object_is_still_told_apart_by_its_name(raw: Any, id_: tuple[str, str] | None) -> None:
    assert identify(raw) == id_
