"""A node's datapath on a cgroup of the bench's own, removed when the bench ends.

datapath = serving(opened, scratch / "bpf", cgroup(opened, "socklb"), room_for(1000, 4))
programs = at_devices(opened, datapath, site.node, [NODE])
load_services(datapath, 1000)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from bench.networks import FAR_NODE, NODE, NODE_LAN, POD_DEVICES, inside
from bench.services import PODS, SERVICES, as_difference
from rig.sandbox import end_all, mounted_bpffs, remove_cgroup
from socklb.api.addresses import Network
from socklb.config import Config
from socklb.datapath import mounts
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.sizes import Sizes
from socklb.desired.network_flags import flags_of
from socklb.model import Addresses, Difference, pack_address
from socklb.tc import rtnetlink
from socklb.tc.attached import Attached
from socklb.tc.programs import Programs


def cgroup(opened: ExitStack, name: str) -> Path:
    """Make a cgroup below one with our process id in its name."""
    root = mounts.cgroup2_root(mounts.read_mounts())
    if root is None:
        raise RuntimeError("no cgroup-v2 hierarchy is mounted")
    base = root / f"socklb-bench-{os.getpid()}"
    if not base.exists():
        base.mkdir()
        opened.callback(_remove, base)
    directory = base / name
    directory.mkdir()
    opened.callback(_remove, directory)
    return directory


def _remove(directory: Path) -> None:
    """Remove it, and end what is left in it: an iptables-restore that needs minutes, or a worker that was just being
    started when the bench was stopped.
    """
    end_all(directory)
    remove_cgroup(directory)


def room_for(count: int, endpoints: int) -> Sizes:
    """Return the ordinary sizes of tables, or larger ones if this many Services need them."""
    usual = Sizes()
    return Sizes(max(usual.frontends, count + count // 4), max(usual.backends, count * endpoints * 5 // 4))


def serving(opened: ExitStack, bpffs: Path, hooked: Path, sizes: Sizes, *, packets: bool = False) -> NodeDatapath:
    """Attach the hooks to a cgroup, with empty tables."""
    pins = opened.enter_context(mounted_bpffs(bpffs))
    node = opened.enter_context(NodeDatapath(pins, hooked, sizes=sizes, packets=packets))
    opened.callback(node.pins.remove)
    node.attach()
    return node


def at_devices(
    opened: ExitStack, node: NodeDatapath, network: int, own: Iterable[str], *, host_routing: bool
) -> Programs:
    """Attach the packet path's programs where the agent of the node with these addresses does.

    That is at the uplinks, and at the device of the pod whose sockets no hook sees; with host routing at those of all
    pods.
    """
    nodes = frozenset(map(pack_address, (NODE, NODE_LAN, FAR_NODE)))
    node.tables.apply(Difference(add=Addresses(nodes=nodes, own=frozenset(map(pack_address, own)))))
    node.tables.networks.set(flags_of((PODS,), (), (SERVICES,)))
    node.pins.tc_maps.mkdir(parents=True)
    room = Config(node="bench").max_flows
    programs = opened.enter_context(
        Programs.load(node.objects, node.pins.maps, node.pins.tc_maps, room, host_routing=host_routing)
    )
    networks = [Network.parse(PODS)]
    with inside(network):
        attached = opened.enter_context(
            closing(Attached(programs.by_name, node.pins, (), networks=networks, host_routing=host_routing))
        )
        attached.follow()
        pods = {device.name: device.ifindex for device in rtnetlink.read().devices if device.name in POD_DEVICES}
        if "unhooked" in pods:
            attached.serve_pods(pods["unhooked"])
        served = {device.name for device in attached.facts if device.of_pods}
    if attached.problems:
        raise RuntimeError("; ".join(attached.problems))
    if served != (pods.keys() if host_routing else pods.keys() & {"unhooked"}):
        raise RuntimeError(f"of the pods' devices, these have programs: {sorted(served)}")
    return programs


def load_services(node: NodeDatapath, count: int, *, packets: bool = False) -> None:
    """Load `count` Services into the tables of the hooks, and of the programs at devices."""
    difference = as_difference(count)
    node.tables.apply(difference.for_tables() if packets else difference.for_sockets())
    if node.tables.waiting:
        raise RuntimeError(f"{len(node.tables.waiting)} of {count} Services found no room")
