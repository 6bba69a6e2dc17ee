"""Finds what would fail later, on every machine, before anything is changed: one table with the remedies.

It looks while pyinfra prepares its operations, so that its first operation knows all machines. What is fatal on one
ends the deploy on all: a cluster is not left half made.
"""

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent.bundles import available
from roles.kubectl import cluster
from roles.preflight import facts
from roles.preflight.judging import Machine
from roles.preflight.operations import looked, nothing_is_fatal


@deploy("preflight")
def preflight() -> None:
    _may_be_root()
    _control_plane_is_there()
    looked[host.name] = Machine(
        short_name(host),
        host.get_fact(facts.Machine),
        host.data.addresses,
        host in hosts.get_group("control_plane"),
        [*host.data.pod_cidrs, *host.data.service_cidrs],
        available(),
    )
    nothing_is_fatal(name="Nothing stands in the way")


def _may_be_root() -> None:
    """Raises OperationError: nothing can be done there, nor even looked at."""
    if not host.data.get("_sudo") or host.data.get("_sudo_password"):
        return
    if said := host.get_fact(facts.SudoRefuses, _sudo=False):
        raise OperationError(
            f"{short_name(host)}: sudo refuses: {said}. Next: a line in /etc/sudoers.d there, "
            f"`{host.data.get('ssh_user')} ALL=(ALL) NOPASSWD: ALL`; or sudo_password in the inventory"
        )


def _control_plane_is_there() -> None:
    if not cluster().connected:
        raise OperationError(
            f"{short_name(cluster())}, the control plane, is not in reach: nothing was changed on the others. Next: "
            "start it, or mend its line in the inventory; then the same command again"
        )
