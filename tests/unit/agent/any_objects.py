"""Objects of every shape, as hypothesis draws them: few names and addresses, so that objects meet.

@MANY
@given(any_service(), any_slices("web"))
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.unit.agent.shapes import endpoint, endpoint_slice, node, service

# The same examples every time: a change that fails in CI fails here.
MANY = settings(derandomize=True, deadline=None, database=None, max_examples=300)

Drawn = st.SearchStrategy[dict[str, Any]]
NODES, ZONES = ("w1", "w2", "w3"), ("a", "b", "")
ALLOWED, NOT_ALLOWED = ("198.51.100.1", "198.51.100.2"), "203.0.113.1"
PODS = {"IPv4": "10.1.1.", "IPv6": "fd00::"}
NODE_ADDRESSES = ("172.18.0.3", "172.18.0.4", "172.18.0.5", "172.18.0.9", "fd00:172::3", "fd00:172::4")
BOOLS, POLICIES = st.booleans(), st.sampled_from(("Cluster", "Local"))
PORT_NAMES, PROTOCOLS = st.sampled_from(("", "a")), st.sampled_from(("TCP", "TCP", "UDP", "SCTP"))


def some(**fields: st.SearchStrategy[Any]) -> Drawn:
    """A mapping with some of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def any_endpoints(draw: st.DrawFn, family: str) -> list[dict[str, Any]]:
    """Half of the hints are complete over a Service by chance: few names, and mostly all endpoints have some."""
    nodes = st.tuples(st.sampled_from(NODES)) if draw(BOOLS) else st.sampled_from(((), ("w1",)))
    zones = st.sampled_from((("a",), ("b",), ("a", "c"))) if draw(BOOLS) else st.sampled_from(((), ("a",)))
    conditions = st.just({}) if draw(BOOLS) else some(ready=BOOLS, serving=BOOLS, terminating=BOOLS)
    hosts = draw(st.lists(st.integers(1, 5), max_size=4))
    return [
        endpoint(
            f"{PODS[family]}{host}",
            draw(st.sampled_from((*NODES, ""))),
            nodes=draw(nodes),
            zones=draw(zones),
            **draw(conditions),
        )
        for host in hosts
    ]


@st.composite
def any_slice(draw: st.DrawFn, service_name: str, name: str) -> dict[str, Any]:
    family = draw(st.sampled_from(("IPv4", "IPv4", "IPv6")))
    ports = st.fixed_dictionaries(
        {"name": PORT_NAMES, "protocol": PROTOCOLS}, optional={"port": st.sampled_from((8080, 8080, 9090, 0))}
    )
    listed = draw(st.lists(ports, min_size=1, max_size=3))
    endpoints = draw(any_endpoints(family))
    return endpoint_slice(service_name, name, addressType=family, ports=listed, endpoints=endpoints)


def any_slices(service_name: str = "web") -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.tuples(*(any_slice(service_name, f"{service_name}-{n}") for n in "abc")).flatmap(
        lambda slices: st.integers(0, 3).map(lambda count: list(slices[:count]))
    )


@st.composite
def any_service(draw: st.DrawFn, number: int = 0, name: str = "web") -> dict[str, Any]:
    """Services of different numbers have different ClusterIPs and NodePorts; other addresses may be the same."""
    v4, v6 = f"10.96.0.{10 + number}", f"fd00:10:96::{10 + number}"
    names = draw(st.lists(st.tuples(PORT_NAMES, PROTOCOLS), min_size=1, max_size=3, unique=True))
    ports = [
        {"port": 80 + i, "name": n, "protocol": p, "nodePort": draw(st.sampled_from((0, 32000 + 10 * number + i)))}
        for i, (n, p) in enumerate(names)
    ]
    spec = draw(
        some(
            type=st.sampled_from(("ClusterIP", "NodePort", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName")),
            internalTrafficPolicy=POLICIES,
            externalTrafficPolicy=POLICIES,
            externalIPs=st.lists(st.sampled_from((*ALLOWED, NOT_ALLOWED)), max_size=2),
            loadBalancerSourceRanges=st.lists(st.sampled_from((" 10.0.0.0/8", "192.0.2.7/24", "fd00::/8")), max_size=2),
            sessionAffinity=st.sampled_from(("None", "ClientIP")),
            sessionAffinityConfig=some(clientIP=some(timeoutSeconds=st.just(60))),
        )
    )
    ingress = draw(
        st.lists(
            some(ip=st.sampled_from(("192.0.2.1", "fd00:192::1")), ipMode=st.sampled_from(("VIP", "Proxy"))), max_size=2
        )
    )
    cluster_ips = draw(st.sampled_from(([v4], [v4], [v6], [v4, v6], [], ["None"])))
    metadata = draw(some(annotations=some(**{"socklb.io/balance": st.sampled_from(("least-loaded", "?"))})))
    return service(name, metadata=metadata, ingress=tuple(ingress), clusterIPs=cluster_ips, ports=ports, **spec)


@st.composite
def any_node(draw: st.DrawFn) -> dict[str, Any]:
    addresses = draw(st.lists(st.sampled_from(NODE_ADDRESSES), max_size=3, unique=True))
    return node(draw(st.sampled_from(NODES)), *addresses, zone=draw(st.sampled_from(ZONES)))


JSON = st.recursive(
    st.none() | BOOLS | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn, good: Drawn) -> dict[str, Any]:
    """A good object in which one value, at whatever depth, is replaced or lost."""
    raw = draw(good)
    place: Any = raw
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    if draw(st.integers(0, 4)) == 0:
        del place[key]
    else:
        place[key] = draw(JSON | st.just("1.2.3.4/5"))
    return raw


# Any document at all: nonsense, and objects with something wrong in them.
ANYTHING = st.one_of(
    JSON,
    spoilt(any_service()),
    spoilt(any_slice("web", "web-a")),
    spoilt(any_node()),
    st.fixed_dictionaries(
        {"kind": st.just("List"), "apiVersion": st.just("v1"), "items": st.lists(spoilt(any_service()))}
    ),
)
