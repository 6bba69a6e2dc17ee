"""The unit as it is shipped, under a real systemd: sandboxed it can do all that it must, and is never given up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.agents import endpoint_slice, service
from rig.sandbox import remove_cgroup
from roles.agent import HERE
from roles.templates import render
from socklb.datapath import mounts
from tests.support.cluster import HostSettings
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
SYSTEMD = Path("/usr/lib/systemd/systemd")
PROGRAM = ROOT / ".venv" / "bin" / "socklb"
SYSTEMDS_LIMIT = 5  # starts in ten seconds, where a unit does not say otherwise

# A device by which nothing leaves.
UPLINK = (
    *("link set lo up", "link add eth0 type veth peer name far", "address add 172.18.0.3/24 dev eth0"),
    *("link set far up", "link set eth0 up", "route add default via 172.18.0.1"),
)

pytestmark = [
    pytest.mark.skipif(not SYSTEMD.exists(), reason="this machine has no systemd"),
    pytest.mark.skip_in_ci_ok("a container of CI's may have no systemd"),
]


class Machine:
    """A systemd of our own, in a cgroup, a network and a root of its own."""

    def __init__(self, home: Path) -> None:
        root = mounts.cgroup2_root(mounts.read_mounts())
        assert root is not None
        self.cgroup = root / f"socklb-test-systemd-{os.getpid()}"
        self.cgroup.mkdir()
        join = f"echo $$ >{self.cgroup}/cgroup.procs"
        namespaces = "unshare --mount --pid --cgroup --uts --ipc --net --fork --kill-child"
        boot = f"{join} && exec {namespaces} {Path(__file__).with_name('systemd-init.sh')} {home}"
        self._log = home.with_name("systemd.log").open("ab")
        self._unshare = subprocess.Popen(["sh", "-c", boot], stdout=self._log, stderr=self._log)
        until(self._has_booted)

    def _has_booted(self) -> bool:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        if not children:
            return False
        self.pid = int(children[0])
        comm = Path(f"/proc/{self.pid}/comm").read_text().strip()
        return comm == "systemd" and self.run("systemctl", "is-system-running").stdout.strip() == "running"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=60)

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        target = Path(f"/proc/{self.pid}/root{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def show(self, key: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "--value", f"--property={key}", "socklb-agent").stdout.strip()

    def status(self) -> str:
        """Return what `socklb status` says inside."""
        return self.run(str(PROGRAM), "status").stdout

    def end(self) -> None:
        """End it with all that runs inside."""
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait()
        self._log.close()
        below = sorted((path for path in self.cgroup.rglob("*") if path.is_dir()), reverse=True)
        for directory in (*below, self.cgroup):
            remove_cgroup(directory)


@pytest.fixture
def host_before() -> dict[str, str]:
    return machine_wide()


def machine_wide() -> dict[str, str]:
    """Return settings that no namespace has of its own."""
    return {key: value for key, value in HostSettings.now().sysctls.items() if key.startswith("fs.")}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    path = tmp_path / "socklb-agent.service"
    path.write_text(render(HERE, "socklb-agent.service", program=PROGRAM, log="/var/log/socklb.log", slices=[]))
    return path


@pytest.fixture
def machine(tmp_path: Path, unit: Path) -> Iterator[Machine]:
    home = tmp_path / "home"
    home.mkdir()
    found = Machine(home)
    try:
        found.write("/etc/systemd/system/socklb-agent.service", unit.read_text())
        found.write("/etc/socklb/socklb.toml", 'node = "w1"\nmanifests = "/etc/socklb/manifests"\n')
        web = [service("web", "10.96.0.10"), endpoint_slice("web-4", "10.244.1.1")]
        found.write("/etc/socklb/manifests/web.yaml", "\n---\n".join(map(json.dumps, web)))
        for link in UPLINK:
            found.run("ip", *link.split())
        found.run("systemctl", "daemon-reload")
        yield found
    finally:
        found.end()


def test_the_unit_is_one_that_systemd_takes_without_a_word_and_well_closed(unit: Path) -> None:
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    closed = ["systemd-analyze", "security", "--offline=true", "--threshold=50", unit]
    assert subprocess.run(closed, capture_output=True, check=False).returncode == 0


def test_the_machine_around_it_keeps_its_settings(host_before: dict[str, str], machine: Machine) -> None:
    assert "fs.protected_fifos" in host_before
    assert machine_wide() == host_before


def test_the_agent_serves_under_systemd_and_is_started_until_it_can(machine: Machine) -> None:
    machine.run("systemctl", "start", "--no-block", "socklb-agent")
    until(lambda: int(machine.show("NRestarts")) > SYSTEMDS_LIMIT + 1)  # no BPF file system yet
    assert machine.show("ActiveState") != "failed"

    machine.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf", "-o", "mode=0700")
    until(lambda: ": in sync" in machine.status())
    status = machine.status()
    assert "11 of 11 attached and effective" in status
    assert "eBPF at eth0: there and whole" in status
    assert "Services:     1, 2 frontends" in status
    assert machine.run("stat", "-c", "%a %n", "/run/socklb", "/run/socklb/agent.lock").stdout.split() == [
        *("700", "/run/socklb"),
        *("600", "/run/socklb/agent.lock"),
    ]

    machine.run("umount", "--lazy", "/sys/fs/bpf")
    until(lambda: "connect4" in machine.run("find", "/sys/fs/bpf", "-name", "connect4").stdout)
    until(lambda: "Problems:     0" in machine.status())

    before = machine.show("MainPID")
    machine.run("kill", "-KILL", before)
    until(lambda: machine.show("MainPID") not in {before, "0"})
    until(lambda: ": in sync" in machine.status())
    machine.run("systemctl", "stop", "socklb-agent")
    assert "11 of 11 attached and effective" in machine.status()
