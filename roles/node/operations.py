"""What makes a machine a node of the pod network: names, forwarding, and routes to the other nodes' pods."""

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from inventory.connectors.entering import EnteringConnector
from inventory.connectors.this_machine import NodeError
from roles.node.facts import DefaultRoutes, Names, Routes, Sysctls
from roles.operations import failure


@operation()
def names(lines: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Make sure of these lines in /etc/hosts. It is overwritten, not replaced: in a container it can be a mount."""
    if host.get_fact(Names) == list(lines):
        host.noop("/etc/hosts names the machines")
        return
    ours = "".join(f"{line}{Names.mark}\n" for line in lines)
    others = f"others=$(grep -v '{Names.mark}$' /etc/hosts)"
    # Ours come first: Debian's own line has a machine's name for 127.0.1.1, where no other machine reaches it.
    yield StringCommand(f"{others}; printf '%s%s\\n' {shlex.quote(ours)} \"$others\" >/etc/hosts")


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
    """Make sure of these routes, destination to gateway, and of none to these others; other routes are left alone."""
    present = host.get_fact(Routes)
    wrong = [f"ip route replace {to} via {gateway}" for to, gateway in wanted.items() if present.get(to) != gateway]
    wrong += [f"ip route delete {to}" for to in unwanted if to in present]
    if wrong:
        yield StringCommand(" && ".join(wrong))
    else:
        host.noop("routes are as wanted")


@operation()
def no_way_out() -> Generator[StringCommand, None, None]:
    """Make sure that there is no default route."""
    if families := host.get_fact(DefaultRoutes):
        yield StringCommand(" && ".join(f"ip {family} route delete default" for family in families))
    else:
        host.noop("no default route")


@operation()
def removed() -> Generator[FunctionCommand | StringCommand, None, None]:
    """Remove a node, complete or not; with the last one everything shared is removed. Its connector defines how."""
    connector = host.connector
    if not isinstance(connector, EnteringConnector):
        yield failure(f"{host.name}: only nodes of the local cluster (@netns/…) and of kind can be removed so far")
        return
    try:
        removal = [*connector.removal()]
    except NodeError as error:
        yield failure(str(error))
        return
    yield from removal
    if not removal:
        host.noop("nothing is there, or it goes with the cluster")
