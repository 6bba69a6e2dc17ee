"""nftables through libnftables: text goes in, JSON comes out.

    nft = Nft()
    nft.run("add element inet socklb cluster_ips4 { 10.96.0.10 }")     # one call is one transaction
    nft.listed("map", "backends4")                                     # its elements

Commands are nft's own language and not its JSON: the skeleton is one file that people can read, a table is replaced
whole, skeleton and elements, in one transaction, and a bulk load costs less (10,000 Services with 4 endpoints:
0.35 s against 0.44 s, 28 MB against 37 MB).
"""

from __future__ import annotations

import ctypes as ct
import os
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from socklb.errors import SocklbError

LIBRARY = "libnftables.so.1"
TABLE = "inet socklb"
JSON, NUMERIC_PROTOCOL = 1 << 4, 1 << 7  # names would depend on the node's /etc/protocols, which may be missing
SHOWN = 100  # characters of a refused command on each side of what was refused: one may have 4,000 elements
WHERE = re.compile(r"^\S+:(\d+):(\d+)-(\d+): Error: (.*)$", re.MULTILINE)

HINTS = {
    "Operation not permitted": "give the agent CAP_NET_ADMIN in the node's network namespace",
    "Operation not supported": "a kernel with nf_tables and the expressions of this rule, or another libnftables1",
    "Device or resource busy": "nft list ruleset: something else changes this table, or uses what was to go",
}
HINT = "nft list table inet socklb shows what is there"


class RefusedError(SocklbError):
    """nftables took nothing of a transaction."""


class LibraryMissingError(SocklbError):
    """There is no libnftables on this node."""


class Nft:
    """A handle of libnftables, for the network namespace that its thread is in."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            LibraryMissingError: it is not there.
        """
        try:
            self._library = ct.CDLL(LIBRARY)
        except OSError as error:
            raise LibraryMissingError(
                "packets cannot be served: libnftables is missing",
                value=LIBRARY,
                hint="apt-get install libnftables1, then restart the agent",
            ) from error
        self._library.nft_ctx_new.restype = ct.c_void_p
        self._library.nft_ctx_get_output_buffer.restype = ct.c_char_p
        self._library.nft_ctx_get_error_buffer.restype = ct.c_char_p
        self._handle = ct.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_output_set_flags(self._handle, JSON | NUMERIC_PROTOCOL)
        self._library.nft_ctx_buffer_output(self._handle)
        self._library.nft_ctx_buffer_error(self._handle)

    def close(self) -> None:
        """Give the handle back."""
        self._library.nft_ctx_free(self._handle)

    def run(self, commands: str) -> bytes:
        """Run commands as one transaction and give what they print.

        Raises:
            RefusedError: nftables refused; nothing of it was done.
        """
        failed = self._library.nft_run_cmd_from_buffer(self._handle, commands.encode())
        output = self._library.nft_ctx_get_output_buffer(self._handle)
        if not failed:
            return output or b""
        self._library.nft_ctx_get_error_buffer(self._handle)  # its marks stand below the first line, whatever is wrong
        return self._run_from_file(commands)

    def _run_from_file(self, commands: str) -> bytes:
        """Run what was refused once more from a file, for which libnftables names line and column. It costs twice."""
        file = os.memfd_create("socklb.nft")
        try:
            with os.fdopen(file, "wb", closefd=False) as written:
                written.write(commands.encode())
            failed = self._library.nft_run_cmd_from_filename(self._handle, f"/proc/self/fd/{file}".encode())
            output = self._library.nft_ctx_get_output_buffer(self._handle)
        finally:
            os.close(file)
        if failed:
            raise refusal(commands, (self._library.nft_ctx_get_error_buffer(self._handle) or b"").decode())
        return output or b""

    def tables(self) -> set[tuple[str, str]]:
        """Give family and name of every table."""
        return {(table["family"], table["name"]) for table in self._objects("list tables", "table")}

    def chains(self, family: str = "") -> list[dict[str, Any]]:
        """Give the chains, of one family or all."""
        return self._objects(f"list chains {family}", "chain")

    def listed(self, kind: Literal["map", "set"], name: str) -> Iterator[Any]:
        """Give the elements of a map or set of our table, each decoded at its turn: other threads get theirs."""
        found = msgspec.json.decode(
            self.run(f"list {kind} {TABLE} {name}"), type=dict[str, list[dict[str, msgspec.Raw]]]
        )
        (table,) = (msgspec.json.decode(item[kind], type=_Elements) for item in found["nftables"] if kind in item)
        return (msgspec.json.decode(element) for element in table.elem)

    def _objects(self, command: str, kind: str) -> list[dict[str, Any]]:
        decoded = msgspec.json.decode(self.run(command), type=dict[str, list[dict[str, Any]]])
        return [item[kind] for item in decoded["nftables"] if kind in item]


class _Elements(msgspec.Struct):
    elem: list[msgspec.Raw] = []


def refusal(commands: str, said: str) -> RefusedError:
    """Give the error that names the command and the part of it that nftables did not take."""
    found = WHERE.search(said)
    if not found:
        return RefusedError(f"nftables refused a change: {said.strip() or 'no reason given'}", hint=HINT)
    line, first, last = (int(number) for number in found.groups()[:3])
    reason = found[4]
    command = commands.splitlines()[line - 1]
    start, end = max(0, first - 1 - SHOWN), last + SHOWN
    shown = "…" * (start > 0) + command[start:end] + "…" * (end < len(command))
    hint = next((hint for text, hint in HINTS.items() if text in reason), HINT)
    return RefusedError(f"nftables refused a change: {reason}: '{command[first - 1 : last]}' in: {shown}", hint=hint)
