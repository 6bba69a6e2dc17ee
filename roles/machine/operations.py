"""A machine's state: recorded before the first change, restored by teardown. Only shell runs there."""

import shlex
from collections.abc import Generator, Sequence
from pathlib import Path

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import inventory as hosts
from pyinfra.facts.files import Directory

from inventory.hosts import short_name
from roles.kubectl import DRAIN, Nodes, kubectl
from roles.machine.paths import BEFORE, FILES, FOLDERS, STATE, SYSCTLS

SCRIPTS = Path(__file__).parent / "files"


@operation()
def recorded() -> Generator[StringCommand, None, None]:
    """Record the machine's state, unless an earlier run has."""
    if host.get_fact(Directory, path=BEFORE):
        host.noop("what it was like is recorded")
    else:
        yield _script("record.sh", STATE, *(" ".join(one) for one in (FILES, FOLDERS, SYSCTLS)))


@operation()
def put_back(keep: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Restore the machine; `keep` are folders whose data stays."""
    if host.get_fact(Directory, path=BEFORE):
        yield _script("put-back.sh", STATE, " ".join(keep))
    else:
        host.noop("no role was here")


@operation()
def pods_have_left(by: str) -> Generator[FunctionCommand, None, None]:
    """Drain this machine, `by` a control plane that stays, which `--limit w1` does not include."""
    yield from _while_there_is_a_node(by, f"drain {{node}} {DRAIN} --force")


@operation()
def node_deleted(by: str) -> Generator[FunctionCommand, None, None]:
    """Remove its Node by that control plane, after `kubeadm reset`, which does not find its etcd member without one."""
    yield from _while_there_is_a_node(by, "delete node {node}")


def _while_there_is_a_node(by: str, words: str) -> Generator[FunctionCommand, None, None]:
    if short_name(host) in _host(by).get_fact(Nodes):
        yield FunctionCommand(kubectl, (by, words.format(node=shlex.quote(short_name(host)))), {})
    else:
        host.noop("the cluster has no such Node")


def _host(name: str) -> Host:
    found = hosts.get_host(name)
    assert found
    return found


def _script(name: str, *arguments: str) -> StringCommand:
    return StringCommand(shlex.join(["sh", "-c", (SCRIPTS / name).read_text(), name, *arguments]))
