"""Finds what would fail later, on every machine, before anything is changed: one table with the remedies.

It runs while pyinfra prepares its operations, so that its first operation knows about all machines. A fatal finding on
one machine ends the deploy on all, so that no cluster is left incomplete.
"""

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.agent.bundles import available
from roles.container_runtime.offline import missing_image
from roles.kubectl import cluster
from roles.kubernetes_packages import obstacle
from roles.kubernetes_packages.versions import wanted
from roles.preflight import facts
from roles.preflight.judging import Machine
from roles.preflight.operations import looked, nothing_is_fatal


@deploy("preflight")
def preflight() -> None:
    _control_plane_is_there()
    if seen := host.get_fact(facts.Machine):  # a machine that does not answer has failed already
        looked[host.name] = _machine(seen)
    nothing_is_fatal(name="Nothing stands in the way")


def _machine(seen: facts.Seen) -> Machine:
    return Machine(
        short_name(host),
        seen,
        host.data.addresses,
        host in hosts.get_group("control_plane"),
        [*host.data.pod_cidrs, *host.data.service_cidrs],
        available(),
        wanted(),
        missing_image(),
        obstacle(),
    )


def _control_plane_is_there() -> None:
    if not cluster().connected:
        raise OperationError(
            f"{short_name(cluster())}, the control plane, is not in reach: nothing was changed on the others. Next: "
            "start it, or mend its line in the inventory; then the same command again"
        )
