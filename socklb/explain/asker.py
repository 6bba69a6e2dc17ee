"""The client of a connection, as the hooks and the packet path distinguish clients: by cgroup, network namespace and
address.

    asker = find("", cgroup)                # this command itself
    asker = find("shop/web-0", cgroup)      # a pod, by [NAMESPACE/]NAME or UID
    asker = find("4711", cgroup)            # a process
    asker = find("/system.slice", cgroup)   # a cgroup, below the node's
    asker = find("outside", cgroup)         # a client outside the cluster; or its address
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from socklb.datapath import features
from socklb.errors import SocklbError
from socklb.model import address_text, is_ipv4, pack_address
from socklb.sockets.descriptors import command
from socklb.sockets.networks import OWN, Network
from socklb.sockets.pods import Pods
from socklb.tc import rtnetlink

VALID = "a pod's [NAMESPACE/]NAME or UID, a process id, a cgroup as /system.slice, outside, or a client's address"


class Asker(NamedTuple):
    """One client.

    hooked: whether it is in the node's cgroup or below. network: the cookie of its network namespace, 0: not known;
    here: whether that is this command's. cgroups: id and path of each of its cgroups, from just below the node's.
    addresses: its own (16 bytes), as far as known. devices: the node's devices on which its packets arrive, as far as
    known.
    """

    text: str
    outside: bool = False
    hooked: bool = False
    network: int = 0
    here: bool = False
    cgroups: tuple[tuple[int, str], ...] = ()
    addresses: tuple[bytes, ...] = ()
    devices: tuple[int, ...] = ()

    def address(self, like: bytes) -> bytes | None:
        """Return its address of the same family as another one."""
        return next((one for one in self.addresses if is_ipv4(one) == is_ipv4(like)), None)


def find(text: str, cgroup: Path) -> Asker:
    """Return the client that a text names; empty: this command. `cgroup`: the node's.

    Raises:
        SocklbError: there is no such client, or it has no process.
    """
    if text == "outside":
        return Asker("a client outside the cluster", outside=True)
    try:
        address = pack_address(text)
    except ValueError:
        pods = Pods(cgroup)
        return _of_process(pods, _process(text, pods, cgroup), "this command" if not text else "")
    return Asker(f"{address_text(address)}, outside the cluster", outside=True, addresses=(address,))


def _process(text: str, pods: Pods, cgroup: Path) -> int:
    """Return a process of the named client."""
    if not text:
        return os.getpid()
    if text.isdecimal():
        if not Path("/proc", text).is_dir():
            raise SocklbError("no such process", value=text, valid=VALID)
        return int(text)
    inside = text.removeprefix(str(cgroup)).strip("/")
    places = [cgroup / inside] if text.startswith("/") else [cgroup / pod.cgroup.lstrip("/") for pod in pods.find(text)]
    if not any(place.is_dir() for place in places):
        raise SocklbError("no such pod or cgroup on this node", value=text, valid=VALID)
    for place in places:
        for pid in _processes(place):
            return pid
    raise SocklbError("no process runs there, so nobody can say in which network", value=text, valid=VALID)


def _processes(cgroup: Path) -> Iterator[int]:
    for folder in (cgroup, *sorted(path for path in cgroup.rglob("*") if path.is_dir())):
        yield from (int(pid) for pid in (folder / "cgroup.procs").read_text().split() if pid != "0")


def _of_process(pods: Pods, pid: int, called: str = "") -> Asker:
    """Describe a process. called: its name for people.

    Raises:
        SocklbError: it ended, or access is denied.
    """
    pod = pods.of_process(pid)
    path = Path("/proc", str(pid), "ns/net")
    try:
        number = path.stat().st_ino
        with Network(number, path).entered():
            cookie, there = features.netns_cookie(), rtnetlink.read()
    except OSError as error:
        raise SocklbError(f"cannot enter the network of process {pid}: {error.strerror}", valid=VALID) from error
    here = number == OWN.stat().st_ino
    where = f"in cgroup {pod.cgroup}" if pod else "outside the node's cgroup"
    return Asker(
        f"{'pod ' + pod.name + ', ' if pod and pod.name else ''}{called or f'process {pid} ({command(pid)})'} {where}",
        hooked=pod is not None,
        network=cookie,
        here=here,
        cgroups=tuple(pods.above(pod)) if pod else (),
        addresses=tuple(own.address for own in there.addresses),
        devices=() if here else tuple(device.peer for device in there.devices if device.kind == "veth"),
    )
