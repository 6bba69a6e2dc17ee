"""What the socket hooks do with a fresh socket that connects or sends: bpf/translate.h and choose.h, followed step by
step.

    verdict = by_hooks(tables, inspected, asked, asker, trail)      # PASSED: it continues to the packet path

A fresh socket: one with an earlier connection may keep its backend, and one that shares its own port may be left to the
packet path.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from socklb.datapath import features
from socklb.datapath.hooks import Hook
from socklb.datapath.layout import filter_bit
from socklb.explain.asker import Asker
from socklb.explain.tables import KernelTables, Row
from socklb.explain.trail import AT_RANDOM, KEPT, LESS_LOADED, PASSED, REFUSED, TRANSLATED, Trail, Verdict
from socklb.model import (
    ANY4,
    ANY6,
    SOCKET_PROTOCOLS,
    V4_PREFIX,
    Backend,
    Frontend,
    address_text,
    endpoint_text,
    frontend_text,
    is_ipv4,
)

LOOPBACK4, LOOPBACK6 = V4_PREFIX + bytes([127, 0, 0, 1]), bytes(15) + b"\x01"
SHOWN = 8  # backends in one step


def destination(frontend: Frontend) -> Frontend:
    """Return the destination as the kernel takes it: the unspecified address is this host."""
    loopback = {ANY4: LOOPBACK4, ANY6: LOOPBACK6}
    return frontend._replace(address=loopback.get(frontend.address, frontend.address))


def by_hooks(tables: KernelTables, hooks: Sequence[Hook], asked: Frontend, asker: Asker, trail: Trail) -> Verdict:
    """Return what the hooks of connect() and sendmsg() do; both do the same for a fresh socket."""
    names = hooks_of(asked)
    trail.at = "/".join(names)
    if asked.protocol not in SOCKET_PROTOCOLS:
        trail.step("-", frontend_text(asked), "the hooks serve TCP and UDP")
        return trail.end(PASSED, "no socket hook serves this protocol")
    if not asker.hooked:
        trail.step("cgroup", "the asker's", "not below the node's: no hook runs")
        return trail.end(PASSED, "no hook runs for it: it is outside the node's cgroup")
    runs = {one.name: str(one.program_id) for one in hooks if one.effective}
    for name in names:
        trail.step("cgroup", name, f"runs program {runs[name]}" if name in runs else "not attached and effective")
    if lacking := [name for name in names if name not in runs]:
        return trail.end(PASSED, f"not run on this node: {', '.join(lacking)}")
    return _Hook(tables, asker, trail).translate(destination(asked))


def hooks_of(asked: Frontend) -> tuple[str, ...]:
    """Return the hooks that a socket may meet for this frontend."""
    family = 4 if is_ipv4(asked.address) else 6
    connect, sendmsg = f"connect{family}", f"sendmsg{family}"
    return (connect, sendmsg) if asked.protocol == socket.IPPROTO_UDP else (connect,)


class _Hook:
    """translate() of bpf/translate.h, for one client."""

    def __init__(self, tables: KernelTables, asker: Asker, trail: Trail) -> None:
        self._tables, self._asker, self._trail = tables, asker, trail
        node = tables.node_network
        self._in_node = bool(node) and (asker.network == node if asker.network else asker.here)
        self._told_network = self._elsewhere = False

    def translate(self, asked: Frontend) -> Verdict:
        tables, trail, shown = self._tables, self._trail, address_text(asked.address)
        if tables.facts.leave_pods and not self._in_node:
            trail.step("kernel_facts", "leave_pods", "1: sockets outside the node's own network are left alone")
            return trail.end(PASSED, "pod_sockets is false: a pod's sockets are left to the packet path")
        may_be = tables.may_be_ours(asked.address)
        trail.step("address_filter", f"{shown} (bit {filter_bit(asked.address)})", "set" if may_be else "clear")
        if not may_be and not (is_loopback(asked.address) and self._is_own(asked.address)):
            return trail.end(PASSED, f"{shown} is no address of a Service or a node")
        if tables.facts.leave_out and (where := self._left_out()):
            return trail.end(PASSED, f"its cgroup {where} is left out: its sockets are left to the packet path")
        row = found(tables, asked, trail) or self._node_port(asked)
        if row is None:
            return self._without_frontend(asked)
        if row.serving.sources is not None:
            return trail.end(PASSED, "it has source ranges, and a socket does not know its address yet")
        return self._choose(asked, row)

    def _left_out(self) -> str:
        """is_left_out(): the cgroup that is left out; empty: none is."""
        for id_, path in self._asker.cgroups:
            since = self._tables.left_out_since(id_)
            if since is not None:
                when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
                self._trail.step("left_out", f"cgroup {id_} ({path})", f"there, since {when}")
                return path
        self._trail.step("left_out", "the asker's cgroups", "none of them is there")
        return ""

    def _is_own(self, address: bytes) -> bool:
        """is_own(): an address of this node, or loopback for processes in the node's own network."""
        if not is_loopback(address):
            return own(self._tables, address, self._trail)
        if self._told_network:
            return self._in_node
        self._told_network = True
        text = "the asker's" if self._in_node else "not the asker's"
        self._trail.step("this_node", "network namespace", f"cookie {self._tables.node_network}: {text}")
        return self._in_node

    def _node_port(self, asked: Frontend) -> Row | None:
        """find_node_port(): a NodePort is stored once, under the unspecified address of its family."""
        is_own = self._is_own(asked.address)
        if not is_own and not in_addresses(self._tables, "node_addrs", asked.address, self._trail):
            return None
        row = found(self._tables, at_any_address(asked), self._trail)
        if row and not is_own and row.serving.own_node_only:
            self._elsewhere = True
            return None
        return row

    def _without_frontend(self, asked: Frontend) -> Verdict:
        if in_addresses(self._tables, "service_addrs", asked.address, self._trail):
            return self._refused(f"{address_text(asked.address)} is a Service's, which has no port {_port(asked)}")
        if self._elsewhere:
            return self._trail.end(PASSED, "it is another node's address, which serves this NodePort itself")
        return self._trail.end(PASSED, f"no Service has {frontend_text(asked)}")

    def _choose(self, asked: Frontend, row: Row) -> Verdict:
        """choose() of bpf/choose.h."""
        backends, affinity = row.serving.backends, row.serving.affinity
        if not backends:
            return self._refused("nobody serves it")
        if affinity and (kept := self._given_last(row)):
            return self._trail.end(TRANSLATED, "this client was given it before", [kept], KEPT)
        less = row.serving.least_loaded and asked.protocol == socket.IPPROTO_TCP
        return self._trail.end(TRANSLATED, "", backends, LESS_LOADED if less else AT_RANDOM)

    def _given_last(self, row: Row) -> Backend | None:
        last = self._tables.given_last(self._asker.network, row.number)
        key = f"network {self._asker.network}, row {row.number}"
        if last is None:
            self._trail.step("affinity", key, "nothing: any backend, which this client keeps then")
            return None
        stands = last.ago <= row.serving.affinity and last.backend in row.serving.backends
        told = f"{endpoint_text(last.backend)}, {last.ago:.0f} s ago{'' if stands else ': counts no more'}"
        self._trail.step("affinity", key, told)
        return last.backend if stands else None

    def _refused(self, why: str) -> Verdict:
        if features.SET_ERRNO.there():
            return self._trail.end(REFUSED, why)
        self._trail.step("-", "errno", "this kernel lets no hook say ECONNREFUSED (before Linux 6.1)")
        return self._trail.end(PASSED, f"{why}; the refusal is left to the packet path")


def found(tables: KernelTables, asked: Frontend, trail: Trail) -> Row | None:
    """find_frontend() of bpf/sets.h."""
    row = tables.frontend(asked)
    trail.step("frontends", _key(asked), "no such element" if row is None else f"row {row.number}")
    if row:
        trail.step("frontend_rows", f"row {row.number}", _told(row))
        if row.serving.backends:
            count = len(row.serving.backends)
            trail.step("backends", f"{row.base} to {row.base + count - 1}", some(row.serving.backends))
    return row


def own(tables: KernelTables, address: bytes, trail: Trail) -> bool:
    """Return whether an address is one of this node's."""
    return in_addresses(tables, "own_addrs", address, trail)


def in_addresses(tables: KernelTables, name: str, address: bytes, trail: Trail) -> bool:
    """Return whether an address is in a table."""
    there = tables.has(name, address)
    trail.step(name, address_text(address), "there" if there else "not there")
    return there


def at_any_address(asked: Frontend) -> Frontend:
    """Return the frontend under which a NodePort is stored."""
    return asked._replace(address=ANY4 if is_ipv4(asked.address) else ANY6)


def some(backends: Sequence[Backend]) -> str:
    """Return a text that names some of many backends."""
    more = len(backends) - SHOWN
    return ", ".join(map(endpoint_text, backends[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _key(asked: Frontend) -> str:
    return frontend_text(asked) + (" from outside" if asked.scope else "")


def _told(row: Row) -> str:
    """Return the contents of a row besides its key."""
    serving, count = row.serving, len(row.serving.backends)
    said = [
        f"{count} backend{'' if count == 1 else 's'}",
        f"affinity {serving.affinity} s" if serving.affinity else "",
        "least-loaded" if serving.least_loaded else "",
        "own node only" if serving.own_node_only else "",
        "others serve the outside" if serving.outside is not None else "",
        "source ranges" if serving.sources is not None else "",
    ]
    return ", ".join(filter(None, said))


def is_loopback(address: bytes) -> bool:
    """Return whether an address is in 127.0.0.0/8, or ::1."""
    return address.startswith(V4_PREFIX + b"\x7f") or address == LOOPBACK6


def _port(asked: Frontend) -> str:
    return frontend_text(asked).rpartition(":")[2]
