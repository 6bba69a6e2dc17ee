"""Machines for tests: plain Debians with systemd and sshd, reached by SSH with a key, on a network that leads nowhere.

    with Machines() as machines:
        machines.start(cp=12, w1=12, w2=13)
        machines["w1"].ssh("sudo", "systemctl", "is-system-running")
        machines.inside("pyinfra", "inventory/bare_metal.py", "deploys/cluster.py")

By hand, as root; the last one removes them, also after a crash half way:

    python -m tests.support.machines up cp=12 w1=12 w2=13      says how to reach them
    python -m tests.support.machines down

They are containers of a docker of our own (images/sealed-docker.sh) of the name socklb-machines, or of SOCKLB_DOCKER.
What containers cannot show: a kernel of each machine's own, devices, boot loaders, clocks that differ.
"""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
DOCKER = os.environ.get("SOCKLB_DOCKER", "socklb-machines")
FOLDER = Path("/run") / DOCKER / "ssh"  # goes with the docker
NETWORK = "machines"
SUBNETS = ("172.31.7.0/24", "fd00:172:31:7::/64")
USER = "admin"
LIMIT = 60.0  # seconds for one command
Text = subprocess.CompletedProcess[str]

PRIVILEGED = "--privileged --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=private"
# Without the sysctl docker leaves IPv6 off. /var is a volume: no overlay on an overlay.
CONTAINER = f"{PRIVILEGED} --sysctl net.ipv6.conf.all.disable_ipv6=0 --tmpfs /tmp --tmpfs /run --volume /var"
MODULES = "--volume /lib/modules:/lib/modules:ro"


class MachineError(Exception):
    """A machine could not be made or used."""


@dataclass(frozen=True)
class Machine:
    """One of them. A failed command is no error here: who asked judges its exit code."""

    name: str
    debian: int
    addresses: tuple[str, str]  # IPv4, IPv6
    port: int = 22

    def argv(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The local command line that runs `command` by SSH as the user, through a shell as SSH does."""
        return inside_argv("ssh", "-F", str(FOLDER / "config"), *options, self.name, shlex.join(command))

    def ssh(self, *command: str, given: str = "", timeout: float = LIMIT) -> Text:
        return run(*self.argv(*command), given=given, timeout=timeout)

    def console(self, *command: str, given: str = "", timeout: float = LIMIT) -> Text:
        """As root and without SSH, as who sits before the machine: it leaves no session in its process list."""
        return run(*inside_argv("docker", "exec", "--interactive", self.name, *command), given=given, timeout=timeout)

    def output(self, *command: str, given: str = "", timeout: float = LIMIT) -> str:
        """What a command that must succeed said at the console."""
        done = self.console(*command, given=given, timeout=timeout)
        if done.returncode:
            raise MachineError(f"{self.name}: exit code {done.returncode} from {shlex.join(command)}: {done.stderr}")
        return done.stdout.rstrip("\n")

    def power_off(self) -> None:
        """As pulling the plug does: no process is told."""
        docker("kill", self.name)

    def power_on(self) -> None:
        docker("start", self.name)
        self.wait()

    def reboot(self) -> None:
        """Shut down in order and start again."""
        docker("restart", "--time", "30", self.name)
        self.wait()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """It answers nothing while the block runs, not even with a refusal."""
        docker("pause", self.name)
        try:
            yield
        finally:
            docker("unpause", self.name)

    def wait(self) -> None:
        """Until systemd has started everything and sshd lets the user in."""
        self.wait_for_systemd()
        until(lambda: self.ssh("true").returncode == 0, 30, pause=0.2)

    def wait_for_systemd(self) -> None:
        until(lambda: self.console("systemctl", "is-system-running").stdout == "running\n", 60, pause=0.2)


@dataclass
class Machines:
    """Those that run; a second Machines() takes the place of a first."""

    machines: dict[str, Machine] = field(default_factory=dict[str, Machine])

    def __enter__(self) -> Self:
        self.remove_all()
        sealed("start")
        FOLDER.mkdir(mode=0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(FOLDER / "key"), check=True)
        subnets = [word for subnet in SUBNETS for word in ("--subnet", subnet)]
        docker("network", "create", "--ipv6", *subnets, NETWORK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove_all()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def start(self, *, port: int = 22, **debians: int) -> None:
        """Start machines, each a name and the number of its Debian; sshd listens on `port`."""
        numbers = sorted({str(debian) for debian in debians.values()})
        run(str(ROOT / "images" / "machine.sh"), *numbers, env=environment(), timeout=600, check=True)
        new = [Machine(name, debian, self._free(number), port) for number, (name, debian) in enumerate(debians.items())]
        with ThreadPoolExecutor() as threads:
            list(threads.map(create, new))
        self.machines |= {machine.name: machine for machine in new}
        write_files(self.machines)
        for machine in new:
            machine.wait()

    def remove(self, name: str) -> None:
        docker("rm", "--force", "--volumes", name)
        del self.machines[name]
        write_files(self.machines)

    def remove_all(self) -> None:
        self.machines.clear()
        sealed("stop")

    def _free(self, number: int) -> tuple[str, str]:
        """The addresses of the `number`-th new one; those that were used once are not given again."""
        last = 10 + len(self.machines) + number
        while any(machine.addresses[0].endswith(f".{last}") for machine in self.machines.values()):
            last += 1
        return f"172.31.7.{last}", f"fd00:172:31:7::{last}"

    @staticmethod
    def inside(*command: str, given: str = "", timeout: float = 600, **more: str) -> Text:
        """Run a command of this project where it reaches the machines: pyinfra, lab, pytest."""
        return run(*inside_argv(*command), given=given, timeout=timeout, env=environment() | more)


def create(machine: Machine) -> None:
    """Start its container and let the user in, with the key of this session."""
    four, six = machine.addresses
    places = ["--name", machine.name, "--hostname", machine.name, "--network", NETWORK, "--ip", four, "--ip6", six]
    image = f"socklb/machine:debian-{machine.debian}"
    docker("run", "--pull=never", "--detach", *places, *CONTAINER.split(), *MODULES.split(), image)
    home = f"/home/{USER}/.ssh"
    script = (
        f"install -d -o {USER} -g {USER} -m 700 {home} && install -o {USER} -m 600 /dev/stdin {home}/authorized_keys"
    )
    machine.output("sh", "-c", script, given=(FOLDER / "key.pub").read_text())
    if machine.port != 22:
        machine.wait_for_systemd()
        listen = f"echo 'Port {machine.port}' >/etc/ssh/sshd_config.d/port.conf && systemctl restart ssh"
        machine.output("sh", "-c", listen)


def write_files(machines: Mapping[str, Machine]) -> None:
    """Write anew: who is who, and a machine that was made anew has new host keys."""
    known = [f"{spelled(machine)} {host_key(machine)}\n" for machine in machines.values()]
    (FOLDER / "known_hosts").write_text("".join(known))
    common = (
        f"Host *\n  User {USER}\n  IdentityFile {FOLDER / 'key'}\n  IdentitiesOnly yes\n  BatchMode yes\n"
        f"  UserKnownHostsFile {FOLDER / 'known_hosts'}\n  StrictHostKeyChecking yes\n  ConnectTimeout 5\n"
    )
    hosts = [
        f"Host {machine.name} {machine.addresses[0]}\n  HostName {machine.addresses[0]}\n  Port {machine.port}\n"
        for machine in machines.values()
    ]
    (FOLDER / "config").write_text("".join([*hosts, common]))


def spelled(machine: Machine) -> str:
    """As known_hosts names it: sshd(8)."""
    address = machine.addresses[0]
    return address if machine.port == 22 else f"[{address}]:{machine.port}"


def host_key(machine: Machine) -> str:
    key = "/etc/ssh/ssh_host_ed25519_key.pub"
    until(lambda: machine.console("test", "-s", key).returncode == 0)
    return " ".join(machine.output("cat", key).split()[:2])


def docker(*words: str) -> str:
    done = run(*inside_argv("docker", *words))
    if done.returncode:
        raise MachineError(f"docker {shlex.join(words)}: {done.stderr.strip()}")
    return done.stdout


def remains() -> list[str]:
    """What of the machines and their docker can be seen on this machine."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [Path("/run") / DOCKER, Path("/run/netns") / DOCKER]
    words = ["find", "/sys/fs/cgroup", "-type", "d", "-name", DOCKER]
    cgroups = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    processes = run("ps", "-eo", "args").stdout.splitlines()
    ours = [mount for mount in mounts if DOCKER in mount] + [line for line in processes if f"/run/{DOCKER}/" in line]
    return sorted([str(place) for place in places if place.exists()] + cgroups + ours)


def sealed(verb: str) -> None:
    run(str(ROOT / "images" / "sealed-docker.sh"), verb, env=os.environ | {"SOCKLB_DOCKER": DOCKER}, check=True)


def inside_argv(*command: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{DOCKER}", "env", f"DOCKER_HOST={environment()['DOCKER_HOST']}", *command]


def environment() -> dict[str, str]:
    return os.environ | {"DOCKER_HOST": f"unix:///run/{DOCKER}/docker.sock", "SOCKLB_DOCKER": DOCKER}


def run(
    *argv: str, given: str = "", timeout: float = LIMIT, env: Mapping[str, str] | None = None, check: bool = False
) -> Text:
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, timeout=timeout, env=env, cwd=ROOT, check=False
    )
    if check and done.returncode:
        raise MachineError(f"exit code {done.returncode} from {shlex.join(argv)}: {done.stderr.strip()}")
    return done


def main(words: list[str]) -> None:
    match words:
        case ["up", *machines] if machines:
            them = Machines().__enter__()
            them.start(**{name: int(debian) for name, _, debian in (word.partition("=") for word in machines)})
            print(f"SSH: {shlex.join(inside_argv('ssh', '-F', str(FOLDER / 'config'), next(iter(them.machines))))}")
            print(f"addresses: {', '.join(f'{one.name} {one.addresses[0]}' for one in them.machines.values())}")
            print(f"key, known_hosts, config: {FOLDER}")
        case ["down"]:
            Machines().remove_all()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
