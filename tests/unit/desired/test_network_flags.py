"""The flags of networks, as a trie that gives the longest prefix must hold them."""

import pytest

from socklb.api.addresses import Network, parse_address
from socklb.datapath.layout import NATIVE_NETWORK, POD_NETWORK, SERVICE_NETWORK
from socklb.desired.network_flags import flags_of

PODS, SERVICES = ("10.244.0.0/16", "fd00:10:244::/56"), ("10.96.0.0/16",)


def found(address: str, pods: tuple[str, ...], native: tuple[str, ...], services: tuple[str, ...]) -> int:
    """What a lookup of the longest prefix gives."""
    wanted = int.from_bytes(parse_address(address))
    matching = {
        bits: flags
        for (prefix, bits), flags in flags_of(pods, native, services).items()
        if wanted >> 128 - bits == int.from_bytes(prefix) >> 128 - bits
    }
    return matching[max(matching)] if matching else 0


@pytest.mark.parametrize(
    ("address", "native", "flags"),
    [
        ("10.244.1.2", (), POD_NETWORK),
        ("fd00:10:244::1", (), POD_NETWORK),
        ("10.96.0.10", (), SERVICE_NETWORK),
        ("192.0.2.1", (), 0),
        ("10.1.2.3", ("10.0.0.0/8",), NATIVE_NETWORK),
        ("10.244.1.2", ("10.0.0.0/8",), POD_NETWORK | NATIVE_NETWORK),
        ("10.96.0.10", ("10.0.0.0/8",), SERVICE_NETWORK | NATIVE_NETWORK),
        ("10.244.1.2", ("10.244.1.0/24",), POD_NETWORK | NATIVE_NETWORK),
        ("10.244.2.2", ("10.244.1.0/24",), POD_NETWORK),
        ("010.244.1.2", ("10.244.0.0/16",), POD_NETWORK | NATIVE_NETWORK),
        ("2001:db8::1", ("::/0",), NATIVE_NETWORK),
        ("192.0.2.1", ("::/0",), 0),
        ("10.244.1.2", ("::/0",), POD_NETWORK),
        ("192.0.2.1", ("0.0.0.0/0",), NATIVE_NETWORK),
        ("2001:db8::1", ("0.0.0.0/0",), 0),
    ],
)
def test_an_address_has_the_flags_of_all_networks_that_it_lies_in(
    address: str, native: tuple[str, ...], flags: int
) -> None:
    assert found(address, PODS, native, SERVICES) == flags


def test_without_networks_there_is_nothing() -> None:
    assert flags_of((), (), ()) == {}


def test_each_network_stands_once() -> None:
    known = flags_of(("010.244.0.0/16", "10.244.9.9/16"), (), ())
    assert {str(Network(*prefix)) for prefix in known} == {"10.244.0.0/16", "0.0.0.0/0"}
