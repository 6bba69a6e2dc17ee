"""Addresses as Kubernetes objects spell them."""

from __future__ import annotations

from socklb.serving import pack_address


def parse_address(text: str) -> bytes:
    """Give the 16 bytes of an address.

    IPv4 with leading zeros is decimal ("010.096.0.1" is 10.96.0.1), as Kubernetes reads old objects
    (ParseIPSloppy); the C library would refuse it or, worse, read it as octal.

    Raises:
        ValueError: `text` is no address.
    """
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
