"""Chains that choose a backend, one for each number of backends there is, not one a Service. Pure.

    name = chooser(4, 3)      # "choose4-3": one of three IPv4 backends
    text = chain(name)        # the commands that make it

A packet comes back from such a chain only if it found no backend: the tables changed under it.
"""

from __future__ import annotations

OUTSIDE_SLOTS = 1 << 24
# A packet's priority is the one number that rules can set and then look up. It is free before routing, which sets it
# anew. Bit 31 says that a token is for clients outside. (A key with `numgen` in it needs `typeof`, which nft 1.0.6
# cannot read back together with a port of any protocol as data.)
_CHOOSE = """
add chain inet socklb {name}
add rule inet socklb {name} meta priority set {draw}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @backends{family}
"""
_KEEP = """
add chain inet socklb {name}
add rule inet socklb {name} meta priority set 0
add rule inet socklb {name} meta priority set {client} map @affinity{family}
add rule inet socklb {name} meta priority {theirs} meta priority set 0
add rule inet socklb {name} meta priority != 0 update @affinity{family} {{ {keep} : meta priority }}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @affine_backends{family}
add rule inet socklb {name} delete @affinity{family} {{ {client} : meta priority }}
add rule inet socklb {name} meta priority set {draw}
add rule inet socklb {name} meta priority set {asked} . meta priority map @affine_slots{family}
add rule inet socklb {name} add @affinity{family} {{ {keep} : meta priority }}
add rule inet socklb {name} dnat {ip} to {asked} . meta priority map @affine_backends{family}
"""


def chooser(family: int, backends: int, affinity: int = 0, *, outside: bool = False) -> str:
    """Name the chain that chooses among so many backends, for so many seconds the same one for a client."""
    return f"{'keep' if affinity else 'choose'}{'_outside' if outside else ''}{family}-{backends}" + (
        f"-{affinity}" if affinity else ""
    )


def is_chooser(name: str) -> bool:
    """Say whether this chain is one of these."""
    return name.startswith(("choose", "keep"))


def chain(name: str) -> str:
    """Give the commands that make the chain of this name."""
    kind, count, *seconds = name.split("-")
    outside = "_outside" in kind
    ip = "ip" if kind.endswith("4") else "ip6"
    asked = f"{ip} daddr . meta l4proto . th dport"
    return (_KEEP if seconds else _CHOOSE).format(
        name=name,
        ip=ip,
        family=kind[-1],
        asked=asked,
        client=f"{ip} saddr . {asked}",
        keep=f"{ip} saddr . {asked} timeout {''.join(seconds)}s",
        draw=f"numgen random mod {count}" + (f" offset {OUTSIDE_SLOTS}" if outside else ""),
        theirs="< 0x80000000" if outside else ">= 0x80000000",
    )
