"""Faults of the node around the agent: its firewall, devices, cgroups and addresses."""

from __future__ import annotations

import subprocess
import time
from random import Random

from rig.sandbox import remove_cgroup
from tests.chaos.faults import Undo, fault
from tests.chaos.rig import Rig
from tests.packets.network import NODE, NODE6, PODS, PODS6

FIREWALL = """
flush ruleset
table inet firewall {
  chain forward { type filter hook forward priority 0; policy accept; ct state established accept; }
  chain input { type filter hook input priority 0; policy accept; ct state established accept; }
}
"""
SECOND = "172.31.0.22"


@fault(holds=False)
def firewall_reloaded(rig: Rig, chance: Random) -> None:
    argv = rig.network.argv("node", "nft", "-f", "-")
    for _ in range(3):
        subprocess.run(argv, input=FIREWALL, text=True, check=True, capture_output=True)


@fault("socket", "packet", holds=False)
def device_of_a_pod_made_anew(rig: Rig, chance: Random) -> None:
    """The pod keeps its sockets; its address comes back with the device."""
    pod = chance.choice(("a", "b"))
    mac = rig.network.output(pod, "cat", "/sys/class/net/eth0/address")
    rig.network.run("node", "ip", "link", "delete", "dev", pod)
    time.sleep(chance.uniform(0, 0.5))
    rig.network.plug_in(pod, PODS[pod], PODS6[pod], mac)
    rig.pod_has(pod)


@fault("socket", "packet")
def uplink_down(rig: Rig, chance: Random) -> Undo:
    """The devices below it, for it is a bridge: its own routes would go, and an operator's network would be undone."""

    def to(state: str) -> None:
        for device in ("client", "far"):
            rig.network.run("node", "ip", "link", "set", "dev", device, state)

    to("down")
    return lambda: to("up")


@fault("socket", holds=False)
def cgroup_of_the_node_made_anew(rig: Rig, chance: Random) -> None:
    """Everybody in it goes elsewhere for a moment."""

    def move(whence: str, to: str) -> list[str]:
        moved = (rig.cgroup.parent / whence / "cgroup.procs").read_text().split()
        for pid in moved:
            try:
                (rig.cgroup.parent / to / "cgroup.procs").write_text(pid)
            except ProcessLookupError:
                continue
        return moved

    ip_before = set((rig.beside / "cgroup.procs").read_text().split())
    while rig.cgroup.exists():
        move("node", "beside")
        try:
            remove_cgroup(rig.cgroup)
        except OSError:
            continue
    time.sleep(chance.uniform(0, 0.5))
    rig.cgroup.mkdir()
    for pid in set((rig.beside / "cgroup.procs").read_text().split()) - ip_before:
        try:
            (rig.cgroup / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            continue


@fault(holds=False)
def cgroups_of_pods_come_and_go(rig: Rig, chance: Random) -> None:
    for number in range(5):
        pod = rig.cgroup / f"pod-{number}"
        pod.mkdir()
        subprocess.run(["sh", "-c", f"echo 0 >{pod}/cgroup.procs; exec true"], check=True)
        remove_cgroup(pod)


@fault()
def node_gets_another_address(rig: Rig, chance: Random) -> Undo:
    rig.network.run("node", "ip", "address", "add", f"{SECOND}/24", "dev", "eth0")
    rig.node_has(SECOND, NODE, NODE6)

    def undo() -> None:
        rig.node_has(NODE, NODE6)
        rig.network.run("node", "ip", "address", "delete", f"{SECOND}/24", "dev", "eth0")

    return undo
