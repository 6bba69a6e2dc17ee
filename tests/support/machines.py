"""Machines for tests: plain Debians and Ubuntus with systemd and sshd, reached by SSH, on a network that leads nowhere.

    with Machines() as machines:                        # meanwhile this thread is where they are reached
        machines.start(cp="12", w1="13", w2="24.04")
        machines["w1"].ssh("sudo", "systemctl", "is-system-running")

By hand, as root; the second removes them, also after a crash half way:

    python -m tests.support.machines up cp=12 w1=13 w2=24.04
    python -m tests.support.machines down

They are containers. What those cannot show: a kernel of each machine's own, devices, boot loaders, clocks that differ.
"""

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support import sealed
from tests.support.sealed import LIMIT, ROOT, Text, docker, output, run
from tests.support.waiting import until

FOLDER = sealed.RUN / "ssh"  # goes with the docker
KEY, KNOWN_HOSTS, CONFIG = FOLDER / "key", FOLDER / "known_hosts", FOLDER / "config"
EMPTY = FOLDER / "empty"  # for who must not read a configuration of the user's own
STATE = FOLDER / "machines.json"  # for a session that goes on with those of an earlier one
NETWORK = "machines"
SUBNETS = ("172.31.7.0/24", "fd00:172:31:7::/64")
USER = "admin"
IMAGES = {"12": "debian-12", "13": "debian-13", "24.04": "ubuntu-24.04"}
PRIVILEGED = "--privileged --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=private"
# Without the sysctl docker leaves IPv6 off. pyinfra runs sudo's askpass from /tmp, as on a plain Debian it can.
# /var is a volume: no overlay on an overlay.
CONTAINER = f"{PRIVILEGED} --sysctl net.ipv6.conf.all.disable_ipv6=0 --tmpfs /tmp:exec --tmpfs /run --volume /var"
MODULES = "--volume /lib/modules:/lib/modules:ro"


@dataclass(frozen=True)
class Machine:
    """One of them. A command that fails is no error here, except in output(): who asked judges its exit code."""

    name: str
    release: str  # VERSION_ID of os-release(5)
    addresses: tuple[str, str]  # IPv4, IPv6
    port: int = 22

    def argv(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The local command line that runs `command` by SSH as the user."""
        return ["ssh", "-F", str(CONFIG), *options, self.name, shlex.join(command)]

    def ssh(self, *command: str, given: str = "", timeout: float = LIMIT) -> Text:
        return run(*self.argv(*command), given=given, timeout=timeout)

    def console(self, *command: str, given: str = "", timeout: float = LIMIT) -> Text:
        """As root and without SSH, as who sits before the machine: it leaves no session in its process list."""
        return run("docker", "exec", "--interactive", self.name, *command, given=given, timeout=timeout)

    def output(self, *command: str, given: str = "", timeout: float = LIMIT) -> str:
        """What a command that must succeed said at the console."""
        return output("docker", "exec", "--interactive", self.name, *command, given=given, timeout=timeout)

    def power_off(self) -> None:
        """As pulling the plug does: no process is told."""
        docker("kill", self.name)

    def power_on(self) -> None:
        docker("start", self.name)
        self.wait()

    def reboot(self) -> None:
        """Shut down in order and start again."""
        docker("restart", "--time", "50", self.name)
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
        until(lambda: self.ssh("true").returncode == 0, 60, pause=0.2)

    def wait_for_systemd(self) -> None:
        until(lambda: self.console("systemctl", "is-system-running").stdout == "running\n", 120, pause=0.2)

    def in_config(self) -> str:
        """As ssh_config(5) has it. A port 22 that is said makes pyinfra look for a bastion's key as [ADDRESS]:22."""
        port = f"  Port {self.port}\n" if self.port != 22 else ""
        return f"Host {self.name} {self.addresses[0]}\n  HostName {self.addresses[0]}\n{port}"

    def host_key(self) -> str:
        """As known_hosts has it: sshd(8)."""
        key = "/etc/ssh/ssh_host_ed25519_key.pub"
        until(lambda: self.console("test", "-s", key).returncode == 0, 60)
        spelled = self.addresses[0] if self.port == 22 else f"[{self.addresses[0]}]:{self.port}"
        return " ".join([spelled, *self.output("cat", key).split()[:2]])


class Machines(Mapping[str, Machine]):
    """Those that run, by name; a second Machines() takes the place of a first."""

    def __init__(self) -> None:
        self._machines: dict[str, Machine] = {}
        self._made = 0
        self._stack = contextlib.ExitStack()

    def find(self) -> Self:
        """Take those that a kept session left, instead of starting any."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(sealed.entered())
            for name, release, addresses, port in json.loads(STATE.read_text()):
                self._machines[name] = Machine(name, release, tuple(addresses), port)
            self._made = len(self._machines) + 50
            self._stack = stack.pop_all()
        return self

    def __enter__(self) -> Self:
        sealed.stop()
        with contextlib.ExitStack() as stack:
            stack.callback(sealed.stop)
            sealed.start()
            stack.enter_context(sealed.entered())
            FOLDER.mkdir(mode=0o700)
            EMPTY.touch()
            output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", KEY)
            subnets = [word for subnet in SUBNETS for word in ("--subnet", subnet)]
            docker("network", "create", "--ipv6", *subnets, NETWORK)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._machines)

    def __len__(self) -> int:
        return len(self._machines)

    def start(self, *, port: int = 22, **releases: str) -> None:
        """Start machines, each a name and its release, a key of IMAGES; sshd listens on `port`."""
        with sealed.at_home():  # packages come from outside
            output(ROOT / "images" / "machine.sh", *sorted(set(releases.values())), timeout=900)
        new = [Machine(name, release, self._new_addresses(), port) for name, release in releases.items()]
        with ThreadPoolExecutor() as threads:
            list(threads.map(create, new))
        self._machines |= {machine.name: machine for machine in new}
        self._write_files()
        for machine in new:
            machine.wait()

    def remove(self, *names: str) -> None:
        for name in names:
            docker("rm", "--force", "--volumes", name)
            del self._machines[name]
        self._write_files()

    def _new_addresses(self) -> tuple[str, str]:
        """Those that were used once are not given again."""
        self._made += 1
        return f"172.31.7.{10 + self._made}", f"fd00:172:31:7::{10 + self._made}"

    def _write_files(self) -> None:
        KNOWN_HOSTS.write_text("".join(f"{machine.host_key()}\n" for machine in self.values()))
        common = (
            f"Host *\n  User {USER}\n  IdentityFile {KEY}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  UserKnownHostsFile {KNOWN_HOSTS}\n  StrictHostKeyChecking yes\n  ConnectTimeout 5\n"
        )
        hosts = [machine.in_config() for machine in self.values()]
        CONFIG.write_text("".join([*hosts, common]))
        STATE.write_text(json.dumps([[one.name, one.release, one.addresses, one.port] for one in self.values()]))


def create(machine: Machine) -> None:
    """Start its container and let the user in, with the key of this session."""
    four, six = machine.addresses
    places = ["--name", machine.name, "--hostname", machine.name, "--network", NETWORK, "--ip", four, "--ip6", six]
    image = f"socklb/machine:{IMAGES[machine.release]}"
    docker("run", "--pull=never", "--detach", *places, *CONTAINER.split(), *MODULES.split(), image)
    folder = f"/home/{USER}/.ssh"
    owned = ["-o", USER, "-g", USER]
    machine.output("install", "-d", *owned, "-m", "700", folder)
    public = KEY.with_suffix(".pub").read_text()
    machine.output("install", *owned, "-m", "600", "/dev/stdin", f"{folder}/authorized_keys", given=public)
    if machine.port != 22:
        machine.wait_for_systemd()
        listen = f"echo 'Port {machine.port}' >/etc/ssh/sshd_config.d/port.conf && systemctl restart ssh"
        machine.output("sh", "-c", listen)


def main(words: list[str]) -> None:
    match words:
        case ["up", *machines] if machines:
            them = Machines().__enter__()
            them.start(**{name: release for name, _, release in (word.partition("=") for word in machines)})
            print(f"reached by: nsenter --net={sealed.NETNS} ssh -F {CONFIG} {next(iter(them))}")
            for machine in them.values():
                print(f"{machine.name}: {IMAGES[machine.release]}, {', '.join(machine.addresses)}")
        case ["down"]:
            sealed.stop()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
