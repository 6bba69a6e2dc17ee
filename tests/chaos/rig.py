"""A node with a real agent, a real API server and etcd, and a network of its own: what a chaos walk is done to.

    with built(programs, home) as rig:
        rig.agent.kill()
        rig.status()

Nothing leaves the namespaces; the hooks are on a cgroup below the machine's root. The API server is the machine's own
loopback's: a wire leads to it from the node's, and can be cut, stalled, slowed and led to a server that only refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rig.agents import AgentUnderTest
from rig.clock import SteppedClock
from rig.control_plane import ControlPlane, agent_token
from rig.objects import NODES, SERVICES, SLICES
from rig.sandbox import end_all, mounted_bpffs, remove_cgroup, sh
from socklb.datapath import mounts
from socklb.datapath.pins import Pins
from socklb.errors import SocklbError
from socklb.tc import links
from tests.chaos import services
from tests.chaos.network import Roomy
from tests.kube.wire import Wire
from tests.packets.network import NODE, NODE6, POD_CIDRS, PODS, name

ROOT = Path(__file__).parents[2]
LIMITS = {"max_frontends": 1024, "max_backends": 2048, "max_flows": 16384}  # small enough to be filled
LOG_SIZE = "16m"


class Rig:
    """See the module."""

    def __init__(self, home: Path, network: Roomy, plane: ControlPlane, wire: Wire, agent: AgentUnderTest) -> None:
        self.home, self.network, self.plane, self.wire, self.agent = home, network, plane, wire, agent
        self.pins = Pins(agent.bpffs)
        self.clock = SteppedClock(home)
        agent.around = [*self.around("node", hooked=True), *self.clock.words]

    @property
    def cgroup(self) -> Path:
        """The node's: what is below meets the hooks."""
        return self.agent.cgroup

    @property
    def beside(self) -> Path:
        return self.cgroup.with_name("beside")

    def around(self, place: str, *, hooked: bool) -> list[str]:
        """Return the words before a command in this namespace whose sockets meet the node's hooks, or do not."""
        cgroup = self.cgroup if hooked else self.beside
        script = f'echo 0 >{cgroup}/cgroup.procs && exec nsenter --net=/run/netns/{self.network.of(place)} "$@"'
        return ["sh", "-c", script, "sh"]

    def launch(self) -> None:
        """Start the agent as its unit does: RequiresMountsFor= has the BPF file system mounted before."""
        if not mounts.is_bpffs(self.agent.bpffs, mounts.read_mounts()):
            sh("mount", "-t", "bpf", "-o", "mode=0700", "bpf", str(self.agent.bpffs))
        self.agent.launch()

    def revive(self) -> None:
        """Start an agent that has ended, as Restart=always does."""
        if not self.agent.alive:
            self.launch()

    def restart(self) -> None:
        """Have another agent, whatever this one does."""
        if self.agent.alive:
            self.agent.kill()
        self.launch()

    def become(self, source: Path | None) -> None:
        """Have an agent of another version in this one's place; None: of the present one."""
        if self.agent.alive:
            self.agent.stop()
        self.agent.source = source
        self.launch()

    @property
    def pid(self) -> int:
        """The agent's process: `sh` and `nsenter` have become it."""
        process = self.agent._process
        assert process is not None
        return process.pid

    def pids(self) -> list[int]:
        """Whose work is needed until all is well."""
        return [self.pid, *self.plane.pids]

    def status(self) -> dict[str, Any] | None:
        """Ask the agent; None if it is not there, or silent."""
        try:
            return self.agent.status()
        except (SocklbError, OSError, ValueError):
            return None

    def told(self) -> str:
        """Return what `socklb status` says is wrong, also where no agent answers."""
        command = [*self.agent.around, *self.agent.command("status", "--json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        try:
            return "\n".join(problem["message"] for problem in json.loads(done.stdout)["problems"])
        except ValueError:
            return done.stderr

    def create_all(self) -> None:
        """Have the Node, the Services and their slices; every slice is whole."""
        self.plane.create(NODES, {"metadata": {"name": "w1"}, "spec": {"podCIDR": "10.244.1.0/24"}})
        self.node_has(NODE, NODE6)
        for number in range(services.COUNT):
            self.plane.create(SERVICES, services.service(number))
        for asked in services.ALL:
            self.plane.create(SLICES, services.endpoint_slice(asked, asked.backends))

    def node_has(self, *addresses: str) -> None:
        listed = [{"type": "InternalIP", "address": address} for address in addresses]
        self.plane.patch(f"{NODES}/w1/status", {"status": {"addresses": listed}})

    def pod_has(self, pod: str) -> None:
        """Give a pod's device its further addresses, once more if it is made anew."""
        device, length = ("lo", ("32", "128")) if pod == "far" else ("eth0", ("24", "64"))
        lines = [
            f"address replace {address}/{length[':' in address]} dev {device}{' nodad' if ':' in address else ''}"
            for address in services.of_pod(pod)
        ]
        argv = self.network.argv(pod, "ip", "-batch", "-")
        subprocess.run(argv, input="\n".join(lines), text=True, check=True, capture_output=True)


class ApiAndStore(ControlPlane):
    """Without a controller manager: the walk writes the slices itself."""

    def __enter__(self) -> Self:
        self._write_files()
        for program in ("etcd", "kube-apiserver"):
            self.start(program)
        return self


@contextlib.contextmanager
def built(programs: Path, home: Path) -> Iterator[Rig]:
    """Have it, with its servers and with the agent at work, while the block runs."""
    with contextlib.ExitStack() as undo:
        cgroup = undo.enter_context(_cgroups())
        bpffs = undo.enter_context(mounted_bpffs(home / "bpffs"))
        network = Roomy(name())
        undo.callback(network.remove)
        network.build()
        plane_home = home / "plane"
        plane_home.mkdir()
        plane = undo.enter_context(ApiAndStore(programs, plane_home))
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        with network.inside("node"):
            listener = Wire.listen()
        wire = undo.enter_context(Wire(plane.port, listener=listener))
        rig = Rig(home, network, plane, wire, _agent(undo, home, cgroup, bpffs))
        _configure(rig)
        rig.create_all()
        _serve(rig)
        undo.callback(_remove, rig)
        rig.agent.start()
        rig.agent.until(lambda status: status["synced"] and status["packet_path"]["whole"])
        yield rig


def _agent(undo: contextlib.ExitStack, home: Path, cgroup: Path, bpffs: Path) -> AgentUnderTest:
    """Its log is on a file system of its own, which can be filled."""
    agent_home = home / "agent"
    agent_home.mkdir()
    agent = AgentUnderTest(agent_home, cgroup, bpffs)
    disk = agent_home / "log"
    disk.mkdir()
    sh("mount", "-t", "tmpfs", "-o", f"size={LOG_SIZE}", "tmpfs", str(disk))
    undo.callback(sh, "umount", "--lazy", str(disk))
    undo.callback(_keep_log, disk / "agent.log", home / "agent.log")
    agent.log_file = disk / "agent.log"
    return agent


def _keep_log(log: Path, to: Path) -> None:
    if log.exists():
        shutil.copy(log, to)


def _configure(rig: Rig) -> None:
    kubeconfig = rig.plane.kubeconfig("agent", agent_token(rig.plane), server=rig.wire.server)
    rig.agent.configure(manifests="", kubeconfig=str(kubeconfig))
    lines = [f"pod_cidrs = {json.dumps(POD_CIDRS)}", *(f"{key} = {value}" for key, value in LIMITS.items())]
    text = rig.agent.config.read_text().replace("packet_path = false", "packet_path = true")
    rig.agent.config.write_text("\n".join([text, *lines]))


def _serve(rig: Rig) -> None:
    for pod in PODS:
        rig.pod_has(pod)
        script = str(Path(__file__).with_name("server.py"))
        rig.network.start(pod, sys.executable, script, *services.of_pod(pod), ready="ready")


def _remove(rig: Rig) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        if rig.agent.alive:
            rig.agent.send(number)
    rig.agent.stop()
    with rig.network.inside("node"):
        links.remove(rig.pins.tc_links)
    rig.pins.remove()


@contextlib.contextmanager
def _cgroups() -> Iterator[Path]:
    root = mounts.cgroup2_root(mounts.read_mounts())
    assert root is not None, "no cgroup-v2 hierarchy is mounted"
    base = root / f"socklb-test-chaos-{os.getpid()}"
    for place in (base, base / "node", base / "beside"):
        place.mkdir()
    try:
        yield base / "node"
    finally:
        for place in (base / "node", base / "beside", base):
            end_all(place)
            remove_cgroup(place)
