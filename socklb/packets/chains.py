"""Chains that choose a backend, one for each number of backends there is, not one a Service. Pure.

    name = chooser(frontend, 3)      # "choose4-3": one of three IPv4 backends
    text = chain(name)               # the commands that make it

A packet comes back from such a chain only if it found no backend: the tables changed under it.

Session affinity over IPv6 is the exception: each frontend has a chain and a map of its clients for itself. A map whose
keys hold more than one IPv6 address cannot be written to from a rule: nft 1.0.6 has no register left for the data, and
ends the whole process that asks for it.
"""

from __future__ import annotations

from socklb.serving import Frontend, is_ipv4

OUTSIDE_SLOTS = 1 << 24
# A packet's priority is the one number that rules can set and then look up. It is free before routing, which sets it
# anew. Bit 31 says that a token is for clients outside. (A key with `numgen` in it needs `typeof`, which nft 1.0.6
# cannot read back together with a port of any protocol as data.)
_CHOOSE = """
add chain inet socklb {name}
add rule inet socklb {name} meta priority set {draw}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @backends{family}
"""
_CLIENTS = """
add map inet socklb {clients} {{ type ipv6_addr : classid; flags dynamic, timeout; size 1048576; timeout 3h; }}
"""
_KEEP = """
add chain inet socklb {name}
add rule inet socklb {name} meta priority set 0
add rule inet socklb {name} meta priority set {client} map @{clients}
add rule inet socklb {name} meta priority {theirs} meta priority set 0
add rule inet socklb {name} meta priority != 0 update @{clients} {{ {keep} : meta priority }}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @affine_backends{family}
add rule inet socklb {name} delete @{clients} {{ {client} : meta priority }}
add rule inet socklb {name} meta priority set {draw}
add rule inet socklb {name} meta priority set {asked} . meta priority map @affine_slots{family}
add rule inet socklb {name} add @{clients} {{ {keep} : meta priority }}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @affine_backends{family}
"""


def chooser(frontend: Frontend, backends: int, affinity: int = 0, *, outside: bool = False) -> str:
    """Name the chain that chooses among so many backends, for so many seconds the same one for a client."""
    family = family_of(frontend.address)
    name = f"{'keep' if affinity else 'choose'}{'_outside' if outside else ''}{family}-{backends}"
    if not affinity:
        return name
    owner = f"-{frontend.address.hex()}_{frontend.protocol}_{frontend.port}" if family == 6 else ""
    return f"{name}-{affinity}{owner}"


def family_of(address: bytes) -> int:
    """Give 4 or 6."""
    return 4 if is_ipv4(address) else 6


def is_chooser(name: str) -> bool:
    """Say whether this chain is one of these."""
    return name.startswith(("choose", "keep"))


def own_clients(name: str) -> str:
    """Name the map of clients that a frontend has for itself; empty if it has none."""
    owner = name.split("-")[3:]
    return f"affinity6-{owner[0]}" if owner else ""


def chain(name: str) -> str:
    """Give the commands that make the chain of this name, and the map of clients that only it needs."""
    kind, count, *seconds = name.split("-")[:3]
    outside = "_outside" in kind
    ip = "ip" if kind.endswith("4") else "ip6"
    asked = f"{ip} daddr . meta l4proto . th dport"
    own = own_clients(name)
    client = f"{ip} saddr" if own else f"{ip} saddr . {asked}"
    commands = (_CLIENTS if own else "") + (_KEEP if seconds else _CHOOSE)
    return commands.format(
        name=name,
        ip=ip,
        family=kind[-1],
        asked=asked,
        clients=own or "affinity4",
        client=client,
        keep=f"{client} timeout {''.join(seconds)}s",
        draw=f"numgen random mod {count}" + (f" offset {OUTSIDE_SLOTS}" if outside else ""),
        theirs="< 0x80000000" if outside else ">= 0x80000000",
    )
