"""The agent's bundle and its service. A restart leaves pins and links alone: connections and connect() go on."""

import shlex
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.agent.facts import HOME, PIDFILE, PROGRAM, STARTED, SYNCED, AgentIsCurrent, BundleDigest, runs
from roles.operations import failure

LOG = "/var/log/socklb.log"


@operation()
def bundle(tar: str) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Unpack the bundle where another one is there or none. The new folder replaces the old one once it is whole."""
    if not Path(tar).is_file():
        yield failure(f"{tar} is missing. Next: make build")
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


@operation()
def service(systemd: bool) -> Generator[StringCommand, None, None]:
    """Start the agent, or restart it if it runs with an older bundle or configuration; wait for its first sync."""
    if host.get_fact(AgentIsCurrent, systemd=systemd):
        host.noop("the agent runs with this bundle and configuration")
        return
    yield StringCommand(_restart_unit() if systemd else _restart_daemon())
    yield StringCommand(_until_synced(systemd))
    yield StringCommand(f"touch {STARTED}")


def _restart_unit() -> str:
    return "systemctl daemon-reload && systemctl enable --quiet socklb-agent && systemctl restart socklb-agent"


def _restart_daemon() -> str:
    daemon = f"start-stop-daemon --quiet --pidfile {PIDFILE}"
    stop = f"{daemon} --stop --oknodo --retry TERM/5/KILL/2"
    return f"{stop} && {daemon} --start --background --make-pidfile --output {LOG} --startas {PROGRAM} -- agent"


def _until_synced(systemd: bool) -> str:
    gone = f"the agent did not do its first sync in 20 s, or ended; the end of {LOG}:"
    wait = f"for i in $(seq 100); do {SYNCED} && exit 0; {runs(systemd)} || break; sleep 0.2; done"
    return shlex.join(["sh", "-c", f"{wait}; echo {shlex.quote(gone)} >&2; tail -n 20 {LOG} >&2; exit 1"])
