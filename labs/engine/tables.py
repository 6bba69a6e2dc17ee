"""A node's programs and tables as bpftool shows them: it knows nothing about socklb, and reads the kernel.

env.record(read_frontends(env, node))         in observe(): the keys of the table of frontends
program_at(env, node, "connect4")             the id of the program that runs at a hook now
"""

import json
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from labs.engine.env import Env
from labs.engine.places import at

BPFTOOL = "/usr/sbin/bpftool"
PINS = "/sys/fs/bpf/socklb/v3"
FRONTENDS = f"{PINS}/maps/frontends"
TCP = 6


@dataclass(frozen=True)
class Frontends:
    keys: list[str]  # address:port of each TCP key


def read_frontends(env: Env, node: str) -> Frontends:
    done = env.ask(at(node, BPFTOOL, "-j", "map", "dump", "pinned", FRONTENDS))
    keys = (element["formatted"]["key"] for element in json.loads(done.out or "[]"))
    return Frontends([_end(key) for key in keys if key["protocol"] == TCP])


def program_at(env: Env, node: str, hook: str) -> str:
    done = env.ask(at(node, BPFTOOL, "-j", "link", "show", "pinned", f"{PINS}/links/{hook}"))
    return str(json.loads(done.out or "{}").get("prog_id", ""))


def _end(key: dict[str, Any]) -> str:
    """Format a key: words and port are in network byte order, and bpftool shows them in the machine's."""
    address = IPv6Address(b"".join(word.to_bytes(4, "little") for word in key["address"]["word"]))
    port = int.from_bytes(key["port"].to_bytes(2, "little"), "big")
    return f"{address.ipv4_mapped}:{port}" if address.ipv4_mapped else f"[{address}]:{port}"
