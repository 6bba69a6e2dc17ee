"""What a frontend is in the nftables table: elements of its maps and sets. Pure.

    list(elements_of(frontend, serving, tokens))

A Service costs one element in a verdict map and one for each backend; no rule and no chain of its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from socklb.api.addresses import Network
from socklb.packets.chains import OUTSIDE_SLOTS, chooser, family_of
from socklb.serving import Addresses, Backend, Frontend, Serving, address_text, pack_address

# Written in this order and deleted in the other: what leads to something comes after what it leads to.
MAPS = ("backends", "affine_backends", "affine_slots", "outside_frontends", "frontends")
SETS = ("allowed", "guarded", "refused")
ADDRESS_SETS = ("cluster_ips", "service_cidrs", "nodes", "pods", "native")

Tokens = Mapping[tuple[Backend, bool], int]  # of a backend, for clients inside (False) or outside (True)

OUTSIDE_TOKENS = 1 << 31


class Element(NamedTuple):
    """An element of a map, or of a set, which has no data. Both are as nft writes them, but in parts."""

    table: str
    key: tuple[str | int, ...]
    data: tuple[str | int, ...] = ()


def elements_of(frontend: Frontend, serving: Serving, tokens: Tokens) -> Iterator[Element]:
    """Give the elements of a frontend; of one with session affinity `tokens` names each backend."""
    family = family_of(frontend.address)
    asked = (address_text(frontend.address), frontend.protocol, frontend.port)
    if not serving.backends:
        yield Element(f"refused{family}", asked)
        return
    yield from _guard(family, asked, serving.sources)
    yield Element(f"frontends{family}", asked, ("jump", chooser(frontend, len(serving.backends), serving.affinity)))
    yield from _choices(family, asked, serving.backends, False, tokens if serving.affinity else {})
    if serving.outside is not None:
        outside = chooser(frontend, len(serving.outside), serving.affinity, outside=True)
        yield Element(f"outside_frontends{family}", asked, ("jump", outside) if serving.outside else ("drop",))
        yield from _choices(family, asked, serving.outside, True, tokens if serving.affinity else {})


def _choices(
    family: int, asked: tuple[str | int, ...], backends: Iterable[Backend], outside: bool, tokens: Tokens
) -> Iterator[Element]:
    for slot, backend in enumerate(backends, OUTSIDE_SLOTS if outside else 0):
        goal = (address_text(backend.address), backend.port)
        if tokens:
            token = _number_text(tokens[backend, outside])
            yield Element(f"affine_slots{family}", (*asked, _number_text(slot)), (token,))
            yield Element(f"affine_backends{family}", (*asked, token), goal)
        else:
            yield Element(f"backends{family}", (*asked, _number_text(slot)), goal)


def _guard(family: int, asked: tuple[str | int, ...], sources: Iterable[str] | None) -> Iterator[Element]:
    if sources is None:
        return
    yield Element(f"guarded{family}", asked)
    for network in collapsed(sources)[family]:
        yield Element(f"allowed{family}", (*asked, network))


def address_elements(addresses: Addresses) -> set[Element]:
    """Give the elements of the sets of addresses."""
    sets = {"cluster_ips": addresses.services, "nodes": addresses.nodes}
    return {Element(f"{name}{family_of(a)}", (address_text(a),)) for name, members in sets.items() for a in members}


def network_elements(name: str, networks: Iterable[str]) -> set[Element]:
    """Give the elements of a set of networks."""
    return {Element(f"{name}{family}", (text,)) for family, texts in collapsed(networks).items() for text in texts}


def collapsed(networks: Iterable[str]) -> dict[int, list[str]]:
    """Give the networks of each family without overlaps, which intervals must not have, a single address as such."""
    parsed = [ipaddress.ip_network(str(Network.of(text))) for text in networks]
    four = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in parsed if isinstance(n, ipaddress.IPv6Network))
    return {4: [_network_text(n) for n in four], 6: [_network_text(n) for n in six]}


def frontend_of(element: Element) -> Frontend:
    """Give the frontend that an element of a map or set of frontends belongs to."""
    address, protocol, port = element.key[:3]
    return Frontend(pack_address(str(address)), int(port), int(protocol))


def tokens_in(elements: Iterable[Element]) -> dict[tuple[Backend, bool], int]:
    """Read back which token names which backend."""
    found: dict[tuple[Backend, bool], int] = {}
    for element in elements:
        if element.table.startswith("affine_backends"):
            major, _, minor = str(element.key[3]).partition(":")
            token = (int(major, 16) << 16) | int(minor, 16)
            address, port = element.data
            found[Backend(pack_address(str(address)), int(port)), bool(token & OUTSIDE_TOKENS)] = token
    return found


def parsed(table: str, listed: Any) -> Element:
    """Give an element as nft's JSON lists it."""
    if isinstance(listed, list):
        key, data = listed  # type: ignore[reportUnknownVariableType]
        return Element(table, _parts(key), _parts(data))
    return Element(table, _parts(listed))


def _parts(listed: Any) -> tuple[str | int, ...]:
    match listed:
        case {"concat": parts}:
            return tuple(_part(part) for part in parts)
        case {"jump": {"target": target}}:
            return ("jump", target)
        case {"drop": _}:
            return ("drop",)
        case _:
            return (_part(listed),)


def _part(listed: Any) -> str | int:
    match listed:
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case _:
            return listed


def _network_text(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _number_text(number: int) -> str:
    """As nft writes the 32 bits of a packet's priority."""
    return f"{number >> 16:x}:{number & 0xFFFF:x}" if number else "none"
