"""Addresses and networks in the notations of Kubernetes objects, the configuration and the kernel.

    Network.parse("10.0.0.0/8").has(parse_address("010.096.0.1"))

All of socklb parses them here, so that no part refuses what another accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from socket import AF_INET, inet_pton
from typing import NamedTuple

from socklb.model import V4_PREFIX, address_text, is_ipv4, pack_address


def parse_address(text: str) -> bytes:
    """Return the 16 bytes of an address.

    IPv4 with leading zeros is decimal ("010.096.0.1" is 10.96.0.1), as Kubernetes reads old objects (ParseIPSloppy);
    the C library would refuse it or, worse, read it as octal.

    Raises:
        ValueError: `text` is not an address.
    """
    try:
        return V4_PREFIX + inet_pton(AF_INET, text)  # the usual case
    except (OSError, ValueError):
        return _parse_other(text)


def parse_addresses(texts: Sequence[str]) -> list[bytes]:
    """Return the 16 bytes of each address, as `parse_address` does, at half the cost.

    Raises:
        ValueError: one is not an address.
    """
    try:
        return [V4_PREFIX + inet_pton(AF_INET, text) for text in texts]
    except (OSError, ValueError):
        return list(map(parse_address, texts))


class Network(NamedTuple):
    """All addresses (16 bytes) that begin with the same bits. 10.0.0.0/8 is ::ffff:10.0.0.0/104."""

    address: bytes
    bits: int

    @classmethod
    def parse(cls, text: str) -> Network:
        """Return the network of a CIDR; address bits beyond the prefix are ignored, and so are blanks around it.

        Raises:
            ValueError: `text` is not a CIDR.
        """
        text = text.strip()  # as the API server does with loadBalancerSourceRanges
        host, slash, length = text.rpartition("/")
        try:
            address = parse_address(host)
        except ValueError:
            raise ValueError(f"{text!r} is not a CIDR") from None
        width = 128 if ":" in host else 32
        if not slash or not (length.isascii() and length.isdecimal()) or len(length) > 3 or int(length) > width:
            raise ValueError(f"{text!r} is not a CIDR")
        bits = 128 - width + int(length)
        return cls(_first(address, bits), bits)

    @classmethod
    def of(cls, text: str) -> Network:
        """Return the network of a CIDR or of a single address, as the kernel's tools print them.

        Raises:
            ValueError: `text` is neither.
        """
        return cls.parse(text) if "/" in text else cls(parse_address(text), 128)

    def has(self, address: bytes) -> bool:
        """Return whether an address is in it; no IPv4 address is in ::/0."""
        return is_ipv4(address) == self.is_ipv4 and _first(address, self.bits) == self.address

    @property
    def is_ipv4(self) -> bool:
        """Return whether its addresses are IPv4 addresses."""
        return self.bits >= 96 and is_ipv4(self.address)

    def __str__(self) -> str:
        """Format as a CIDR."""
        return f"{address_text(self.address)}/{self.bits - 96 if self.is_ipv4 else self.bits}"


def _first(address: bytes, bits: int) -> bytes:
    """Return an address with all bits after the first `bits` set to zero."""
    others = 128 - bits
    return (int.from_bytes(address) >> others << others).to_bytes(16)


def _parse_other(text: str) -> bytes:
    try:
        return pack_address(text)
    except ValueError:
        return pack_address(_without_leading_zeros(text))


def _without_leading_zeros(text: str) -> str:
    head, colon, tail = text.rpartition(":")
    octets = tail.split(".")
    if len(octets) != 4 or len(text) > 64:
        return text
    return head + colon + ".".join(octet.lstrip("0") or octet[-1:] for octet in octets)
