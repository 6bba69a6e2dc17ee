"""A real agent on the sandbox's cgroup, fed from a folder of manifests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from socklb import control_socket

# Seconds: much more than anything takes on a real machine; emulated kernels need more.
WAIT = float(os.environ.get("SOCKLB_TEST_WAIT", "20"))
control_socket.TIMEOUT = round(WAIT / 4)  # 5, as it is, on a real machine


class AgentUnderTest:
    """Starts, queries, kills and restarts `socklb agent`."""

    def __init__(self, home: Path, cgroup: Path, bpffs: Path) -> None:
        self.home = home
        self.manifests = home / "manifests"
        self.manifests.mkdir()
        self.log_file = home / "agent.log"
        self.bpffs, self.cgroup = bpffs, cgroup
        self.socket = home / "agent.sock"
        self.around: list[str] = []  # a prefix for its command, such as `ip netns exec`
        self.source: Path | None = None  # the folder of another version's source
        self.config = home / "socklb.toml"
        self.configure()
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, **more: str) -> None:
        """Write the configuration."""
        keys = {"node": "w1", "manifests": self.manifests, "bpffs": self.bpffs, "cgroup": self.cgroup}
        keys |= {"socket": self.socket, "health_address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0", **more}
        lines = [f'{key} = "{value}"\n' for key, value in keys.items()]
        self.config.write_text("".join([*lines, "packet_path = false\n"]))  # it runs in the machine's own network

    def command(self, *verb: str) -> list[str]:
        """Return the command line of a verb."""
        there = ["env", f"--chdir={self.source}"] if self.source else []
        return [*there, sys.executable, "-m", "socklb", *verb, "--config", str(self.config)]

    def run(self, *verb: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(self.command(*verb), capture_output=True, text=True, check=False, timeout=60)

    def start(self) -> None:
        """Start, and wait until the first batch is applied."""
        self.launch()
        self.until(lambda status: status["applied"]["revision"] > 0)

    def launch(self) -> None:
        """Start without waiting."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen([*self.around, *self.command("agent")], stdout=log, stderr=log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it by a signal; return its exit code."""
        self.send(number)
        assert self._process is not None
        return self._process.wait(WAIT)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it as its service unit would."""
        if self._process is not None and self._process.poll() is None:
            self.kill(signal.SIGTERM)

    @property
    def alive(self) -> bool:
        """Return whether the process that was started last still exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Return everything that was logged."""
        return self.log_file.read_text()

    def status(self) -> dict[str, Any] | None:
        """Ask the agent; None if no agent answers."""
        return control_socket.ask(self.socket, "status")

    def until(self, condition: Callable[[dict[str, Any]], object], seconds: float = WAIT) -> dict[str, Any]:
        """Wait until the status satisfies a condition, and return it."""
        end, pause = time.monotonic() + seconds, 0.002
        while time.monotonic() < end:
            status = self.status()
            if status is not None and condition(status):
                return status
            assert self.alive, f"the agent ended with {self._process and self._process.returncode}\n{self.log}"
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)  # whoever asks all the time slows down what it waits for
        raise AssertionError(f"not within {seconds} s: {self.status()}\n{self.log}")

    def write(self, name: str, *documents: object) -> None:
        """Put a file into the folder as kubectl or an editor would: whole, by rename. Texts are written as they are."""
        text = "\n---\n".join(d if isinstance(d, str) else json.dumps(d) for d in documents)
        new = self.manifests / f".{name}.new"
        new.write_text(text)
        new.rename(self.manifests / name)

    def applied(self, name: str, generation: int) -> dict[str, Any]:
        """Wait until an object's generation is in the kernel."""
        return self.until(lambda status: status["applied"]["objects"].get(name) == generation)


def service(name: str, *cluster_ips: str, node_port: int | None = None) -> dict[str, Any]:
    """Return a Service with one port, over TCP and UDP."""
    ports = [
        {"name": protocol.lower(), "port": 80, "targetPort": 8080, "protocol": protocol} for protocol in ("TCP", "UDP")
    ]
    if node_port is not None:
        ports = [{**port, "nodePort": node_port} for port in ports]
    spec = {"type": "NodePort" if node_port else "ClusterIP", "clusterIP": cluster_ips[0], "clusterIPs": cluster_ips}
    families = ["IPv6" if ":" in ip else "IPv4" for ip in cluster_ips]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**spec, "ipFamilies": families, "ports": ports},
    }


def endpoint_slice(name: str, *addresses: str, generation: int = 1) -> dict[str, Any]:
    """Return an EndpointSlice of ready endpoints on port 8080."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "generation": generation,
            "labels": {"kubernetes.io/service-name": name.rpartition("-")[0]},
        },
        "addressType": "IPv6" if addresses and ":" in addresses[0] else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": protocol.lower(), "port": 8080, "protocol": protocol} for protocol in ("TCP", "UDP")],
    }


def node(name: str, *addresses: str) -> dict[str, Any]:
    """Return a Node with internal addresses."""
    listed = [{"type": "InternalIP", "address": address} for address in addresses]
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": listed}}
