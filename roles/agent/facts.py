"""Facts about the agent on a node."""

from pyinfra.api.facts import FactBase

HOME = "/opt/socklb"
PROGRAM = f"{HOME}/bin/socklb"
CONFIG = "/etc/socklb/socklb.toml"
KUBECONFIG = "/etc/socklb/kubeconfig"  # on nodes of Kubernetes
UNIT = "/etc/systemd/system/socklb-agent.service"
PIDFILE = "/run/socklb/agent.pid"
STARTED = "/run/socklb/agent.started"  # touched after each start: newer than everything that the agent was started with


def runs(systemd: bool) -> str:
    """Return a command that succeeds if the agent's process exists. A pid file may outlive it, and its pid may be
    reused.
    """
    if systemd:
        return "systemctl is-active --quiet socklb-agent"
    return f"grep -qs socklb /proc/$(cat {PIDFILE} 2>/dev/null)/cmdline"


def answering() -> str:
    """Return a command that prints the pid of the agent that answers on the socket, whoever started it; or nothing."""
    return f"""{PROGRAM} status --json 2>/dev/null | sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p'"""


def is_own(systemd: bool) -> str:
    """Return a command that succeeds if the agent that answers is the one that the service started."""
    started = "systemctl show --property MainPID --value socklb-agent" if systemd else f"cat {PIDFILE}"
    return f'[ "$({answering()})" = "$({started})" ]'


def synced(seconds: int) -> str:
    """Return a command that succeeds as soon as the agent has done its first sync, or fails after this many seconds."""
    return f"{PROGRAM} status --wait {seconds} >/dev/null 2>&1"


class BundleDigest(FactBase[str]):
    """SHA-256 of the bundle that was unpacked here, empty if none was."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        return f"cat {HOME}/.bundle 2>/dev/null || true"


class AgentIsCurrent(FactBase[bool]):
    """Whether the agent runs with the present bundle, configuration and unit, and has done its first sync."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, systemd: bool) -> str:
        parts = [f"{HOME}/.bundle", CONFIG, *([UNIT] if systemd else [])]
        fresh = " && ".join(f"[ {STARTED} -nt {part} ]" for part in parts)
        account = f"{{ [ ! -e {KUBECONFIG} ] || [ {STARTED} -nt {KUBECONFIG} ]; }}"
        serves = f"{runs(systemd)} && {synced(0)} && {is_own(systemd)}"
        return f"{{ {fresh} && {account} && {serves}; }} 2>/dev/null && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]
