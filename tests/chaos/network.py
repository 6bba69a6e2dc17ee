"""The network of tests/packets, with pods for clients alone: a pod that asks itself is a case of its own."""

from __future__ import annotations

import subprocess

from tests.packets.network import Network, ip

CLIENTS_IN = ("c", "d")  # pods


class Roomy(Network):
    """With two pods more, without servers."""

    def build(self) -> None:
        super().build()
        for number, pod in enumerate(CLIENTS_IN, 4):
            ip("netns", "add", self.of(pod))
            self.run(pod, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0")
            self.run(pod, "ip", "link", "set", "lo", "up")
            self.plug_in(pod, f"10.244.1.{number}", f"fd00:10:244:1::{number}")

    def plug_in(self, pod: str, address: str, address6: str, mac: str = "") -> None:
        """Give a pod its device, and the ways by it. mac: of an earlier one, which the neighbours know."""
        ours = ("address", mac) if mac else ()
        peer = ("peer", "name", "eth0", *ours, "netns", self.of(pod))
        self.run("node", "ip", "link", "add", "name", pod, "type", "veth", *peer)
        self._address(pod, "eth0", f"{address}/24", f"{address6}/64")
        self.run("node", "ip", "link", "set", "dev", pod, "master", "cni0", "up")
        self.run("node", "ip", "link", "set", "dev", pod, "type", "bridge_slave", "hairpin", "on")
        self.run(pod, "ip", "route", "replace", "default", "via", "10.244.1.1")
        self.run(pod, "ip", "-6", "route", "replace", "default", "via", "fd00:10:244:1::1")

    def remove(self) -> None:
        super().remove()
        for pod in CLIENTS_IN:
            subprocess.run(["ip", "netns", "delete", self.of(pod)], check=False, capture_output=True)
