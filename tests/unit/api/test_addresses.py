"""Addresses as Kubernetes reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socklb.api.addresses import Network, parse_address
from socklb.api.objects import Node, ServiceCIDR
from socklb.config import Config
from socklb.desired.endpoints import Place
from socklb.desired.network_flags import flags_of
from socklb.desired.service_plan import Surroundings, plan_service
from socklb.model import address_text, is_ipv4
from socklb.routes.node_routes import pod_routes
from tests.unit.agent.shapes import node, read, the_service


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("10.96.0.10", "10.96.0.10"),
        ("010.096.000.010", "10.96.0.10"),
        ("010.010.010.010", "10.10.10.10"),
        ("00.0.0.000", "0.0.0.0"),
        ("1.2.3.08", "1.2.3.8"),
        ("fd00:10:96::a", "fd00:10:96::a"),
        ("FD00:10:96:0::A", "fd00:10:96::a"),
        ("::ffff:10.96.0.10", "10.96.0.10"),
        ("::ffff:010.96.0.10", "10.96.0.10"),
    ],
)
def test_an_address_is_read_as_kubernetes_reads_it(text: str, meaning: str) -> None:
    assert address_text(parse_address(text)) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.96.0",
        "10.96.0.256",
        "10.96.0.0256",
        "10.96.0.1/32",
        " 10.96.0.1",
        "0x0a.1.1.1",
        "1..2.3",
        "fe80::1%eth0",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 or IPv6 address"):
        parse_address(text)


@pytest.mark.parametrize(("text", "ipv4"), [("10.0.0.1", True), ("::ffff:10.0.0.1", True), ("fd00::1", False)])
def test_a_mapped_address_is_ipv4(text: str, ipv4: bool) -> None:
    assert is_ipv4(parse_address(text)) is ipv4


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("010.000.000.000/08", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.1/32", "192.0.2.1/32"),
        ("fd00::1/8", "fd00::/8"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ],
)
def test_a_network_is_read_without_its_host_bits(text: str, meaning: str) -> None:
    assert str(Network.parse(text)) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "10.0.0.0",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/+8",
        "10.0.0.0/²",
        "x/8",
        "10.0.0.0/255.0.0.0",
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a CIDR"):
        Network.parse(text)


@pytest.mark.parametrize(
    ("network", "address", "has"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("::/0", "fd00::1", True),
        ("::/0", "192.0.2.1", False),
        ("0.0.0.0/0", "fd00::1", False),
        ("192.0.2.1/32", "::ffff:192.0.2.1", True),
    ],
)
def test_a_network_has_the_addresses_of_its_family(network: str, address: str, has: bool) -> None:
    assert Network.parse(network).has(parse_address(address)) is has


def test_one_address_is_a_network_too() -> None:
    assert [str(Network.of(text)) for text in ("10.0.0.1", "fd00::1", "10.0.0.1/8")] == [
        "10.0.0.1/32",
        "fd00::1/128",
        "10.0.0.0/8",
    ]


@given(
    st.one_of(
        st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 130)),
        st.from_regex(r"\A ?0{0,2}[0-9]{1,3}(\.0?[0-9]{1,3}){3}/0?[0-9]{1,2} ?\Z"),
        st.from_regex(r"\A(::ffff:)?10\.0\.0\.0/[0-9]{1,3}\Z"),
    )
)
def test_a_network_that_an_object_may_name_is_one_wherever_it_is_used(text: str) -> None:
    try:
        network = Network.parse(text)
    except ValueError:
        return
    assert Network.parse(str(network)) == network
    assert network in flags_of((text,), (), ())
    gateways = ("172.18.0.4", "fd00:172:18::4")
    raw = node("w2", *gateways)
    found = read({**raw, "spec": {"podCIDRs": [text]}}, Node)
    assert list(pod_routes(found)) == [str(network)]
    read(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "x"},
            "spec": {"cidrs": [text]},
        },
        ServiceCIDR,
    )
    assert Config(node="w1", pod_cidrs=(text,), native_cidrs=(text,), external_ips=(text,))
    plan_service(the_service(loadBalancerSourceRanges=[text], type="LoadBalancer"), (), Surroundings(Place("w1")))
