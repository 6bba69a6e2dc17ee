"""The agent's bundle and its service. A restart leaves pins and links alone: connections and connect() continue to
work.
"""

import base64
import shlex
from collections.abc import Generator, Sequence
from hashlib import sha256
from pathlib import Path

import yaml
from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from inventory.hosts import short_name
from roles.agent.bundles import Bundle, available, bundles
from roles.agent.facts import (
    HOME,
    KUBECONFIG,
    PIDFILE,
    PROGRAM,
    STARTED,
    AgentIsCurrent,
    BundleDigest,
    answering,
    is_own,
    runs,
    synced,
)
from roles.facts import Pythons
from roles.kubectl import Nodes, cluster
from roles.kubernetes.facts import Account, AgentAccount
from roles.operations import failure, write_files

LOG = "/var/log/socklb.log"
ENDS = "--retry TERM/5/KILL/2"


@operation()
def bundle(tar: str | None = None) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Unpack `tar`, or the bundle for this host's Python, if there is another one or none.

    The new folder replaces the old one once it is complete.
    """
    if tar and not Path(tar).is_file():
        yield failure(f"{tar} is missing. Next: make build")
        return
    tar = tar or fitting(bundles())
    if not tar:
        known = f"there is one for {', '.join(available())}" if available() else "there is none"
        yield failure(
            f"{short_name(host)}: no bundle of the agent for its Python; {known}. Next: make build, or for another "
            "version of Python setup/build-agent.sh 3.13"
        )
        return
    digest = sha256(Path(tar).read_bytes()).hexdigest()
    if host.get_fact(BundleDigest) == digest:
        host.noop(f"bundle {digest[:12]} is there")
        return
    sent, new, old = "/run/socklb/agent.tar", f"{HOME}.new", f"{HOME}.old"
    yield StringCommand(f"rm -rf {new} {old} && mkdir -p /run/socklb {new}")
    yield FileUploadCommand(tar, sent)
    yield StringCommand(f"tar -xf {sent} -C {new} && rm {sent} && echo {digest} >{new}/.bundle")
    yield StringCommand(f"if [ -e {HOME} ]; then mv {HOME} {old}; fi && mv {new} {HOME} && rm -rf {old}")
    yield StringCommand(f"ln -sfn {PROGRAM} /usr/local/bin/socklb")


def fitting(known: Sequence[Bundle]) -> str | None:
    """Return the first bundle whose launcher would find its Python on this host."""
    tries = {
        f"{python} {one.version}": one
        for one in reversed(known)  # of two for the same Python, the first one
        for python in (one.interpreter, f"python{one.version}", "python3")
    }
    starts = host.get_fact(Pythons, interpreters=list(tries)) if tries else []
    return next((str(one.tar) for one in known if one in [tries[line] for line in starts]), None)


@operation()
def account() -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Write the agent's own kubeconfig. It has the address of the control plane, or of all of them: a Service address
    would need the agent first.
    """
    found = cluster().get_fact(AgentAccount)
    addresses = [
        node["addresses"][0] for name, node in cluster().get_fact(Nodes).items() if name == short_name(cluster())
    ]
    if found and addresses:
        virtual = host.data.get("virtual_address")
        yield from write_files({KUBECONFIG: kubeconfig(virtual or addresses[0], found)}, mode="600")
    else:
        yield failure("the cluster has no token for the agent. Next: kubectl -n kube-system get secret socklb-token")


def kubeconfig(server: str, account: Account) -> str:
    """Return a kubeconfig with one cluster, one user, one context."""
    host_part = f"[{server}]" if ":" in server else server
    authority = base64.b64encode(account.ca.encode()).decode()
    cluster = {"server": f"https://{host_part}:6443", "certificate-authority-data": authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "socklb", "user": {"token": account.token}}],
        "contexts": [{"name": "socklb", "context": {"cluster": "cluster", "user": "socklb"}}],
        "current-context": "socklb",
    }
    return yaml.safe_dump(document, sort_keys=False)


@operation()
def service(systemd: bool) -> Generator[StringCommand, None, None]:
    """Start the agent, or restart it if it runs with an older bundle or configuration; wait for its first sync."""
    if host.get_fact(AgentIsCurrent, systemd=systemd):
        host.noop("the agent runs with this bundle and configuration")
        return
    yield StringCommand(_restart_unit() if systemd else restart_daemon())
    yield StringCommand(until_synced(systemd))
    yield StringCommand(f"touch {STARTED}")


@operation(is_idempotent=False)
def check(tries: int = 1) -> Generator[StringCommand, None, None]:
    """Fail if `socklb check` does so many times, with its last output."""
    again = f"for i in $(seq {tries - 1}); do {PROGRAM} check >/dev/null 2>&1 && exit; sleep 2; done; "
    yield StringCommand(f"{again if tries > 1 else ''}{PROGRAM} check")


@operation()
def gate(nodes: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Stop if one of those hosts has failed: call it on all hosts."""
    if failed := sorted({*nodes} & {one.name for one in host.state.failed_hosts}):
        names = ", ".join(failed)
        yield failure(f"{names} failed, see above: this one stays as it is. Next: mend {names}; the same command again")


def _restart_unit() -> str:
    return "systemctl daemon-reload && systemctl enable --quiet socklb-agent && systemctl restart socklb-agent"


def restart_daemon() -> str:
    """Return a command that stops the agent, whoever started it, and starts one. A stale pid file does not matter."""
    daemon = f"start-stop-daemon --quiet --pidfile {PIDFILE}"
    stop = f"{{ {runs(systemd=False)} || rm -f {PIDFILE}; }} && {daemon} --stop --oknodo {ENDS} && {_stop_stray()}"
    start = f"{daemon} --start --background --make-pidfile --output {LOG} --startas {PROGRAM} -- agent"
    return f"chmod 0700 /sys/fs/bpf && {stop} && {start}"  # older versions of this kit mounted it for everybody


def _stop_stray() -> str:
    """Return a command that stops a serving agent other than the pid file's: started by hand, or by the faster of two
    starts.
    """
    ours = "grep -qs socklb /proc/$stray/cmdline"  # and not a pid of another PID namespace
    stop = f"start-stop-daemon --quiet --stop --oknodo --pid $stray {ENDS}"
    return f'stray=$({answering()}) && {{ [ -z "$stray" ] || ! {ours} || {stop}; }}'


def until_synced(systemd: bool) -> str:
    """Return a command that waits until the agent that it started is in sync, or fails with the end of its log."""
    gone = f"the agent did not do its first sync in 60 s, or ended, or another one answers; the end of {LOG}:"
    wait = f"for i in $(seq 30); do {synced(2)} && {is_own(systemd)} && exit 0; {runs(systemd)} || break; done"
    return shlex.join(["sh", "-c", f"{wait}; echo {shlex.quote(gone)} >&2; tail -n 20 {LOG} >&2; exit 1"])
