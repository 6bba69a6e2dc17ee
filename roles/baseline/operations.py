"""Processes of a node that no init system manages, the files that they read, and how they are ended."""

import shlex
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.baseline.facts import APPLIED, HOME, OPT, RUN, Authority, Holding, There
from roles.kubectl import KUBECTL, cluster
from roles.node import plain_addresses
from roles.operations import write_files
from roles.templates import render

# These chains and rules are removed, and other rules stay; a table that is then empty is removed.
RULES_GONE = """\
for family in ip:iptables ip6:ip6tables; do
    tables=${family#*:}
    $tables-save 2>/dev/null | grep -vE "$0" | $tables-restore
    for table in raw mangle nat filter; do
        $tables-save -t $table 2>/dev/null | grep -q ^-A || nft delete table "${family%:*}" $table 2>/dev/null || true
    done
done"""


class Process(NamedTuple):
    name: str
    words: tuple[str, ...]
    ready: str  # a command that succeeds as soon as it serves
    reads: tuple[str, ...] = ()  # files that it reads at start: if one is newer, it is started again
    environment: str = ""

    @property
    def pidfile(self) -> str:
        return f"{RUN}/{self.name}.pid"

    @property
    def log(self) -> str:
        return f"{RUN}/{self.name}.log"

    @property
    def current(self) -> str:
        """Return a command that succeeds if it runs with these arguments and files."""
        command = (
            f"[ \"$(tr '\\0' ' ' </proc/$(cat {self.pidfile})/cmdline)\" = {shlex.quote(' '.join(self.words) + ' ')} ]"
        )
        return " && ".join([command, *(f"[ {self.pidfile} -nt {file} ]" for file in self.reads), self.ready])


@operation()
def processes(wanted: Sequence[Process]) -> Generator[StringCommand, None, None]:
    """Make sure that these run, in this order, each with its present arguments and files."""
    there = host.get_fact(Holding, conditions={process.name: process.current for process in wanted})
    for process in wanted:
        if process.name not in there:
            yield StringCommand(_start(process))
    if len(there) == len(wanted):
        host.noop(f"{', '.join(there)} run")


def _start(process: Process) -> str:
    daemon = f"start-stop-daemon --quiet --pidfile {process.pidfile}"
    start = f"{daemon} --start --background --make-pidfile --output {process.log} --startas {process.words[0]}"
    begin = f"{process.environment} {start} -- {shlex.join(process.words[1:])}"
    each = f"{{ {process.ready}; }} >/dev/null 2>&1 && exit 0; {_runs(process)} || break; sleep 0.1"
    gone = f"{process.name} does not serve within 30 s, or ended; the end of {process.log}:"
    said = f"echo {gone!r} >&2; tail -n 20 {process.log} >&2; exit 1"
    script = f"mkdir -p {RUN} && {_stop(process.name)} && {begin} && for i in $(seq 300); do {each}; done; {said}"
    return shlex.join(["sh", "-c", script])


def _runs(process: Process) -> str:
    """Return a command that succeeds if the process exists. Its pid file may be missing in the first moment."""
    return f"{{ [ ! -e {process.pidfile} ] || kill -0 $(cat {process.pidfile}) 2>/dev/null; }}"


def _stop(name: str) -> str:
    return f"start-stop-daemon --stop --quiet --oknodo --retry TERM/5/KILL/2 --pidfile {RUN}/{name}.pid"


@operation()
def account(path: str, user: str) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Write a user's kubeconfig, once the API server has its certificate."""
    values = {"server": plain_addresses(cluster())[0], "authority": cluster().get_fact(Authority)}
    yield from write_files({path: render(Path(__file__).parent, "kubeconfig", user=user, **values)}, mode="600")


@operation()
def key(path: str) -> Generator[StringCommand, None, None]:
    """Make sure that there is a private key. An existing one stays."""
    if host.get_fact(Holding, conditions={path: f"[ -e {path} ]"}):
        host.noop(f"{path} is there")
    else:
        yield StringCommand(f"openssl genrsa -out {path} 2048 2>/dev/null")


@operation()
def tun_device() -> Generator[StringCommand, None, None]:
    """Make sure that the device exists with which flannel makes its interface."""
    if host.get_fact(Holding, conditions={"tun": "[ -c /dev/net/tun ]"}):
        host.noop("/dev/net/tun is there")
    else:
        yield StringCommand("mkdir -p /dev/net && mknod /dev/net/tun c 10 200")


@operation()
def objects_applied(kubectl: str, files: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make sure that the API server has the objects of these files."""
    if host.get_fact(Holding, conditions={"applied": f"sha256sum --check --status {APPLIED}"}):
        host.noop("the API server has the objects")
        return
    chosen = " ".join(f"--filename {file}" for file in files)
    yield StringCommand(f"{kubectl} apply {chosen} && sha256sum {' '.join(files)} >{APPLIED}")


@operation()
def gone(in_kubernetes: bool) -> Generator[StringCommand, None, None]:
    """Remove the processes and all that they and their setup made here. A kubelet has rules like kube-proxy's own."""
    if not host.get_fact(There):
        host.noop("nothing of them is there")
        return
    ended = " && ".join(_stop(name) for name in ("flanneld", "kube-proxy", "kube-apiserver", "etcd"))
    yield StringCommand(ended)
    yield StringCommand("sh", "-c", shlex.quote(RULES_GONE), "FLANNEL-" if in_kubernetes else "'KUBE-|FLANNEL-'")
    yield StringCommand("conntrack -F 2>/dev/null")
    if in_kubernetes and host == cluster():
        yield StringCommand(f"{KUBECTL} delete --ignore-not-found --filename {HOME}/rbac.yaml")
    devices = "" if in_kubernetes else "/run/xtables.lock /dev/net"
    yield StringCommand(f"rm -rf {HOME} {RUN} {OPT} /run/flannel {devices}")
