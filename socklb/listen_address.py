"""Addresses to listen at, in the configuration's format: 127.0.0.1:10249, [::]:10256; empty for none."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from socklb.errors import SocklbError

VALID = "an IP address and a port, as in 127.0.0.1:10249 or [::]:10256; empty for no server"
HINT = "change it in the configuration, then start the agent again"


class ListenAddress(NamedTuple):
    """Where a server listens. Port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Format for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(key: str, text: str) -> ListenAddress | None:
    """Parse the value of a configuration key; None if there is to be no server.

    Raises:
        SocklbError: it is not an address and port.
    """
    if not text:
        return None
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if address is None or bracketed != (address.version == 6) or not _is_port(port):
        raise SocklbError(f"{key} cannot be listened at", value=text, valid=VALID, hint=HINT)
    return ListenAddress(str(address), int(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535
