"""What host routing bypasses for packets of pods in the node's stack: netfilter rules, and IPsec.

    passed = PassedBy(config.host_routing)
    passed.look()       # every few seconds
    passed.problems     # for `socklb status`

Counted are rules for forwarded packets and translations of destinations: of nftables (which includes iptables-nft) and
of legacy iptables, in both families. Rules of socklb and of kube-proxy's table are left out: the packet path does their
work.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from socklb.libc import libc
from socklb.netlink import DUMP, attributes, exchange

NETLINK_XFRM, NETLINK_NETFILTER = 6, 12
GET_CHAIN, GET_POLICY = 10 << 8 | 4, 21
GENERAL = struct.Struct("=BBH")  # struct nfgenmsg
TABLE, NAME, HOOK, POLICY, RULES, TYPE = 1, 3, 4, 5, 6, 7  # NFTA_CHAIN_*
HOOK_NUMBER, DROP = 1, 0  # NFTA_HOOK_HOOKNUM, NF_DROP
PREROUTING, FORWARD = 0, 2  # NF_INET_*
FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
NOT_MEANT = {"socklb", "kube-proxy"}  # tables
INFO = struct.Struct("=32sI5I5III")  # struct ipt_getinfo
GET_INFO = 64  # IPT_SO_GET_INFO, IP6T_SO_GET_INFO
OLDER = {"iptables": (socket.AF_INET, socket.IPPROTO_IP, "ip"), "ip6tables": (socket.AF_INET6, 41, "ip6")}
POLICY_ID, POLICY_WAY = 64, 160  # size of struct xfrm_userpolicy_id, offset of `dir` in struct xfrm_userpolicy_info
OUT, FORWARDED = 1, 2  # XFRM_POLICY_*

EVERY = 9.0  # seconds
TEXT = (
    "host_routing hands packets of pods on past what this node has for them: {};"
    " next: remove that, or set host_routing = false"
)


class PassedBy:
    """See the module. Without host routing nothing is checked."""

    def __init__(self, host_routing: bool) -> None:
        self._host_routing, self._found = host_routing, list[str]()
        self._looked = -EVERY  # last time (monotonic)

    def look(self) -> None:
        """Check what there is, unless that was done a moment ago.

        Raises:
            OSError: the kernel refused.
        """
        now = time.monotonic()
        if self._host_routing and now - self._looked >= EVERY:
            self._looked, self._found = now, passed_by()

    @property
    def problems(self) -> list[str]:
        """Return what is bypassed, and what can be done about it."""
        return [TEXT.format(", ".join(self._found))] if self._found else []


def passed_by() -> list[str]:
    """Return the rules and policies in this network namespace that host routing bypasses.

    Raises:
        OSError: the kernel refused.
    """
    return sorted({*_chains(), *_older_chains(), *_policies()})


def _chains() -> Iterator[str]:
    for _, data in _answers(NETLINK_NETFILTER, GET_CHAIN, GENERAL.pack(0, 0, 0)):
        family, found = FAMILIES.get(data[0]), attributes(data[GENERAL.size :])
        table, name, kind = (found.get(which, b"").rstrip(b"\0").decode() for which in (TABLE, NAME, TYPE))
        if not family or HOOK not in found or table in NOT_MEANT:
            continue
        hook = _number(attributes(found[HOOK]).get(HOOK_NUMBER))
        does = _number(found.get(RULES)) > 0 or _number(found.get(POLICY)) == DROP
        if does and (hook == FORWARD or (hook == PREROUTING and kind == "nat")):
            yield f"nftables chain {name} of table {family} {table}"


def _older_chains() -> Iterator[str]:
    for command, (family, level, names) in OLDER.items():
        listed = Path(f"/proc/thread-self/net/{names}_tables_names")
        for table in listed.read_text().split() if listed.exists() else ():
            hook, chain = (PREROUTING, "PREROUTING") if table == "nat" else (FORWARD, "FORWARD")
            if _has_rules(family, level, table, hook):
                yield f"{command} chain {chain} of table {table}"


def _has_rules(family: int, level: int, table: str, hook: int) -> bool:
    """Return whether a chain of legacy iptables has more than its policy, which comes after its rules."""
    info = ct.create_string_buffer(INFO.pack(table.encode(), *[0] * 13), INFO.size)
    size = ct.c_uint32(INFO.size)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
        if libc.getsockopt(asking.fileno(), level, GET_INFO, info, ct.byref(size)):
            raise OSError(ct.get_errno(), f"iptables: {os.strerror(ct.get_errno())}", table)
    _, hooks, *places = INFO.unpack(info.raw)
    return bool(hooks & 1 << hook) and places[hook] != places[5 + hook]


def _policies() -> Iterator[str]:
    for _, data in _answers(NETLINK_XFRM, GET_POLICY, bytes(POLICY_ID)):
        if data[POLICY_WAY] in (OUT, FORWARDED):
            yield "IPsec policies (ip xfrm policy)"


def _answers(family: int, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Send a request to a part of the kernel that may not exist; yield the answers."""
    try:
        yield from exchange(family, kind, DUMP, body)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _number(data: bytes | None) -> int:
    return -1 if data is None else int.from_bytes(data, "big")
