"""The peers: socklb's agent and kube-proxy, each as it is deployed, on a node of its own.

peer = Socklb(opened, home, place, plane)
peer.start(cgroup)
peer.stop()
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from bench.networks import inside
from bench.peers.place import POD_CIDRS, Place, words
from rig.agents import AgentUnderTest
from rig.control_plane import ADMIN, ControlPlane, agent_token
from rig.sandbox import mounted_bpffs
from socklb.datapath.pins import Pins
from socklb.tc import links

NODE = "node"
# With 10,000 Services the variant on nf_tables (1.8.9) needs more than 80 s of CPU for the first iptables-restore.
LEGACY = "xtables-legacy-multi"
PATIENCE = 60.0  # seconds until a program has ended


class Peer(Protocol):
    """What follows the API on one node."""

    def start(self, cgroup: Path) -> None:
        """Start it, in a cgroup that counts what it takes."""
        ...

    def stop(self) -> None:
        """End it as its unit would; what it programmed stays."""
        ...

    @property
    def log(self) -> str:
        """Return what it said."""
        ...


class NodeAgent(AgentUnderTest):
    """An agent with its packet path, for a node of this folder."""

    def configure(self, **more: str) -> None:
        """Write the configuration."""
        super().configure(**{"node": NODE, **more})
        said = self.config.read_text().replace("packet_path = false", f"pod_cidrs = {json.dumps(POD_CIDRS)}")
        self.config.write_text(said)


def agent_on(opened: ExitStack, home: Path, place: Place, hooked: Path) -> NodeAgent:
    """Return an agent that does not run yet; it and all that it did are removed with `opened`."""
    agent = NodeAgent(home, hooked, opened.enter_context(mounted_bpffs(home / "bpf")))

    def remove() -> None:
        agent.stop()
        pins = Pins(agent.bpffs)
        with inside(place.node):
            links.remove(pins.tc_links)
        pins.remove()

    opened.callback(remove)
    return agent


class Socklb:
    """The agent with the API as its source, and with its packet path."""

    def __init__(self, opened: ExitStack, home: Path, place: Place, plane: ControlPlane, hooked: Path) -> None:
        self._place = place
        self._agent = agent_on(opened, home, place, hooked)
        self._agent.configure(manifests="", kubeconfig=str(plane.kubeconfig("socklb", agent_token(plane))))

    def start(self, cgroup: Path) -> None:
        """Start it."""
        self._agent.around = words(self._place.node, cgroup)
        self._agent.launch()

    def stop(self) -> None:
        """End it; hooks and programs at devices go on."""
        self._agent.stop()

    @property
    def log(self) -> str:
        """Return what it said."""
        return self._agent.log


class KubeProxy:
    """kube-proxy in a mode, with its own defaults but for what kind sets too: conntrack's limit is the machine's.

    Its iptables is the legacy variant where there is one.
    """

    def __init__(self, opened: ExitStack, home: Path, place: Place, plane: ControlPlane, mode: str) -> None:
        self._place, self._program, self._home = place, plane.programs / "kube-proxy", home
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "kube-proxy.log"
        opened.callback(self.stop)
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": mode,
            "hostnameOverride": NODE,
            "clientConnection": {"kubeconfig": str(plane.kubeconfig(f"kube-proxy-{mode}", ADMIN))},
            "clusterCIDR": POD_CIDRS[0],
            "conntrack": {"maxPerCore": 0},
        }
        (home / "kube-proxy.json").write_text(json.dumps(configuration))
        if legacy := shutil.which(LEGACY):
            for name in ("iptables", "ip6tables"):
                for program in (name, f"{name}-save", f"{name}-restore"):
                    (home / program).symlink_to(legacy)

    def start(self, cgroup: Path) -> None:
        """Start it."""
        command = [self._program, "--config", self._home / "kube-proxy.json"]
        environment = {
            **os.environ,
            "PATH": f"{self._home}:{os.environ['PATH']}",
            "XTABLES_LOCKFILE": str(self._home / "xtables.lock"),  # the machine has its own
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*words(self._place.node, cgroup), *command], stdout=log, stderr=log, env=environment
            )

    def stop(self) -> None:
        """End it; its rules stay."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """Return what it said."""
        return self._log.read_text()
