"""What makes a machine a node of the pod network: names, forwarding, and the way to the other nodes' pods."""

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, inventory

from inventory.connectors import container, kind, kind_cluster, netns
from inventory.connectors.netns import PREFIX
from inventory.hosts import short_name
from roles.kubectl import cluster
from roles.node.facts import Names, Routes, Sysctls
from roles.operations import failure


@operation()
def names(lines: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make sure of these lines in /etc/hosts. It is written over, not replaced: in a container it can be a mount."""
    if host.get_fact(Names) == list(lines):
        host.noop("/etc/hosts names the machines")
        return
    ours = "".join(f"{line}{Names.mark}\n" for line in lines)
    others = f"others=$(grep -v '{Names.mark}$' /etc/hosts)"
    yield StringCommand(f"{others}; printf '%s\\n%s' \"$others\" {shlex.quote(ours)} >/etc/hosts")


@operation()
def sysctls(values: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    present = host.get_fact(Sysctls, keys=list(values))
    wrong = [f"{key}={value}" for key, value in values.items() if present.get(key) != value]
    if wrong:
        yield StringCommand("sysctl -q -w", shlex.join(wrong))
    else:
        host.noop("sysctls are as wanted")


@operation()
def routes(wanted: Mapping[str, str], unwanted: Sequence[str] = ()) -> Generator[StringCommand, None, None]:
    """Make sure of these routes, destination to gateway, and of none to these others; the rest is left alone."""
    present = host.get_fact(Routes)
    wrong = [f"ip route replace {to} via {gateway}" for to, gateway in wanted.items() if present.get(to) != gateway]
    wrong += [f"ip route delete {to}" for to in unwanted if to in present]
    if wrong:
        yield StringCommand(" && ".join(wrong))
    else:
        host.noop("routes are as wanted")


@operation()
def removed() -> Generator[FunctionCommand | StringCommand, None, None]:
    """Remove a node of the local cluster, whole or half made; with the last one goes all that they shared.

    A kind cluster is removed as a whole, by its control plane. It runs on this machine, for no command may enter the
    node: entering would make it.
    """
    strays = _strays()
    if host.name.startswith(kind.PREFIX):
        yield from _kind_removed(host.data.kind_cluster)
    elif not host.name.startswith(PREFIX):
        yield failure(f"{host.name}: only nodes of the local cluster ({PREFIX}…) and of kind can be removed so far")
    elif container.remains(short_name(host)) or strays:
        for node in (*strays, short_name(host)):
            yield FunctionCommand(container.remove, (node,), {})
    else:
        host.noop("nothing is there")


def _strays() -> list[str]:
    """The nodes that are there and in no inventory: with a whole cluster goes what was made beside it.

    One host of it removes them, the first. With a part of it (`--limit`, or a host that was typed) nobody does.
    """
    ours = [one for one in inventory if one.name.startswith(PREFIX)]
    whole = host.groups and len(inventory.get_active_hosts()) == len(inventory)
    if host not in ours[:1] or not whole:
        return []
    known = {one.name for one in ours} | set(netns.known())
    return [node for node in container.nodes() if PREFIX + node not in known]


def _kind_removed(name: str) -> Generator[FunctionCommand | StringCommand, None, None]:
    try:
        removable = host == cluster() and kind_cluster.removable(name)
    except kind_cluster.ClusterError as error:
        yield failure(str(error))
        return
    if removable:
        yield FunctionCommand(kind_cluster.remove, (name,), {})
    else:
        host.noop("nothing is there, or it goes with the cluster")
