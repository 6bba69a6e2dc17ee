"""What an agent with another schema of tables left. Its sockets continue to see the Service's address until they close.

    retire(folder)          # once our hooks serve: it does not translate any more
    is_unused(folder)       # now and then: may the rest be removed?

A socket's record is in the tables of the hooks that translated it, so these hooks still read it at recvmsg() and
getpeername(), and free it when the socket is released.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from socklb.datapath import libbpf
from socklb.datapath.links import detach
from socklb.datapath.maps import RowTable, pinned_shape

READERS = ("sock_release", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6")
RECORDS = "sockets"


def serves(folder: Path) -> bool:
    """Return whether more than the reading hooks are attached, that is, whether it is not retired."""
    return any(pin.name not in READERS for pin in _links(folder))


def retire(folder: Path) -> None:
    """Detach everything except the reading hooks, and unpin all tables except the one that counts the sockets that are
    left.
    """
    for pin in _links(folder):
        if pin.name not in READERS:
            link = libbpf.get_pinned(pin)
            try:
                detach(link, pin.name)
            finally:
                os.close(link)
            pin.unlink()
    for pin in (folder / "maps").glob("*"):
        if pin.name != RECORDS:
            pin.unlink()


def is_unused(folder: Path) -> bool:
    """Return whether no socket has a record in a retired folder.

    Records that did not fit into the table are kept with their sockets and not counted: such a socket may see the
    backend's address in the end, as all do where there is no table (Linux before 5.12).
    """
    pin = folder / "maps" / RECORDS
    if not pin.exists():
        return True
    with closing(RowTable(pin.parent, pin.name, pinned_shape(pin).value_size)) as table:
        return table.count_words() == 0


def _links(folder: Path) -> list[Path]:
    return [*(folder / "links").glob("*"), *(folder / "tc" / "links").glob("*")]
