"""lo: serves processes that no hook sees when they connect to the node's own addresses, and lets the answers through.

    if may_be_needed(config):
        sees = Lo(pins.tc)
        sees.keep()         # the kernel accepts answers that arrive on lo from an address of the node
    give_back(pins.tc)      # as it was

A packet between two addresses of this machine leaves and arrives on lo, and passes no other device. A program there
costs all such packets time, so it is attached only if there may be processes that no hook sees: some are left out, or
the hooks are not at the root of the cgroups. An answer of a pod or another node is redirected to lo with the node's
address as its source, which IPv4 drops ("martian") unless the device has `accept_local`. Packets of other machines do
not arrive on lo.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

from socklb.config import Config
from socklb.datapath import mounts
from socklb.netlink import ACK, NESTED, attribute, attributes, exchange
from socklb.tc.rtnetlink import GET_LINK, LINK, NETLINK_ROUTE
from socklb.tc.tcx import LO

SET_LINK = 19
AF_SPEC, INET_CONF, ACCEPT_LOCAL = 26, 1, 23  # IFLA_AF_SPEC, IFLA_INET_CONF, IPV4_DEVCONF_ACCEPT_LOCAL
OURS = "accept_local"  # a folder beside the pins: the agent has set it
WHERE = "lo, which is served where sockets are left out (bypass_pods, bypass_cgroups) or the cgroup is not the root"


def may_be_needed(config: Config) -> bool:
    """Return whether there may be processes in the node's network namespace that no hook sees."""
    if config.bypass_pods or config.bypass_cgroups:
        return True
    return bool(config.cgroup) and Path(config.cgroup) != mounts.cgroup2_root(mounts.read_mounts())


class Lo:
    """See the module. `pins`: the folder of the packet path's pins."""

    def __init__(self, pins: Path) -> None:
        self._ours = pins / OURS
        self._is_ours = self._ours.is_dir()

    def keep(self) -> bool:
        """Set accept_local; return whether it was not set.

        Raises:
            OSError: the kernel refused.
        """
        if self._is_ours and self._ours.parent.is_dir():
            self._ours.mkdir(mode=0o700, exist_ok=True)  # somebody may have removed it with the pins
        if accepts_local():
            return False
        self._ours.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._is_ours = True
        _accept_local(yes=True)
        return True


def give_back(pins: Path) -> None:
    """Restore accept_local as it was before the agent set it.

    Raises:
        OSError: the kernel refused.
    """
    if (pins / OURS).is_dir():
        _accept_local(yes=False)
        (pins / OURS).rmdir()


def accepts_local() -> bool:
    """Return whether lo accepts packets from an address of the node.

    Raises:
        OSError: the kernel refused.
    """
    ((_, data),) = exchange(NETLINK_ROUTE, GET_LINK, ACK, LINK.pack(0, 0, LO, 0, 0))
    families = attributes(attributes(data[LINK.size :])[AF_SPEC])
    values = attributes(families[socket.AF_INET])[INET_CONF]
    return bool(struct.unpack_from("=I", values, 4 * (ACCEPT_LOCAL - 1))[0])


def _accept_local(*, yes: bool) -> None:
    value = attribute(ACCEPT_LOCAL, int(yes).to_bytes(4, sys.byteorder))
    conf = attribute(socket.AF_INET | NESTED, attribute(INET_CONF | NESTED, value))
    asked = LINK.pack(0, 0, LO, 0, 0) + attribute(AF_SPEC | NESTED, conf)
    for _ in exchange(NETLINK_ROUTE, SET_LINK, ACK, asked):
        pass
