"""A client outside of a kind cluster: a container on the cluster's network that is not a node, from the nodes' image.

    ensure("socklb-outside", Wanted("socklb", …))    make it, or start it
    remove("socklb-outside", "socklb")               also if nothing is there

The deploys remove docker's own default route from it (roles/node).
"""

import sys

from inventory.connectors import this_machine
from inventory.connectors.kind_cluster import ClusterError, Wanted, docker

MARK = "socklb.outside"  # our label: a container without it belongs to somebody else


def ensure(name: str, wanted: Wanted) -> None:
    """Make sure that it runs, beside an existing cluster. The caller holds this_machine.lock().

    Raises:
        ClusterError: it cannot be made, or a container of somebody else has the name.
    """
    if not _is_there(name):
        print(f"Making {name}, a client outside of the cluster", file=sys.stderr)
        docker("run", "--detach", "--pull=never", "--name", name, *_as_a_machine(wanted), wanted.image, "infinity")
    docker("container", "start", name)


def removable(name: str, cluster: str) -> bool:
    """Return whether remove() has anything to do: not if it belongs to a cluster of another name.

    Raises:
        ClusterError: it belongs to somebody else.
    """
    return _is_there(name) and bool(docker(*_listed(name, f"{MARK}={cluster}")).strip())


def remove(name: str, cluster: str) -> None:
    with this_machine.lock():
        if removable(name, cluster):
            docker("container", "rm", "--force", "--volumes", name)


def _as_a_machine(wanted: Wanted) -> list[str]:
    """Return the options for a container that may set its own routes, and does nothing by itself."""
    each_network = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    network, *_ = docker("container", "inspect", "--format", each_network, wanted.control_plane).split()
    does = ("--hostname", "outside", "--network-alias", "outside", "--cap-add", "NET_ADMIN", "--entrypoint", "sleep")
    return ["--label", f"{MARK}={wanted.name}", "--network", network, *does]


def _is_there(name: str) -> bool:
    there, ours = docker(*_listed(name)).strip(), docker(*_listed(name, MARK)).strip()
    if there != ours:
        raise ClusterError(
            f"the container {name} was made by somebody else. Next: remove it (docker rm --force {name}), or choose "
            "another name for the cluster in inventory/group_data/kind.py"
        )
    return bool(there)


def _listed(name: str, label: str = "") -> list[str]:
    filters = (f"name=^{name}$", *([f"label={label}"] if label else []))
    return ["container", "ls", "--all", "--quiet", *(word for one in filters for word in ("--filter", one))]
