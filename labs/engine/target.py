"""What a lab runs on: the cluster of the inventory, read once, and access to its places.

    target = open_target()
    target.cluster                         a snapshot: nodes, pods, Services (labs.engine.cluster)
    ask(target.place("client"), at("client", "curl", ...))
    target.apply("lab-05", documents)      Kubernetes objects of a lab; target.remove("lab-05")

If a kubelet makes the pods, they and the Services come from the cluster's API (labs.engine.kubernetes); on the local
cluster from the inventory and its nodes (labs.engine.local). A lab does not know which it is.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from inventory import hosts
from inventory.hosts import Host, Inventory
from inventory.place import Place, machine
from labs.engine.cluster import Cluster
from labs.engine.errors import LabError

Document = Mapping[str, Any]  # a Kubernetes object


class Target(Protocol):
    @property
    def cluster(self) -> Cluster: ...

    def read(self) -> Cluster:
        """Read the cluster again, with pods that were added and Services that were applied."""
        ...

    def place(self, name: str) -> Place:
        """Return a node, the client outside or a pod.

        Raises:
            LabError: none has this name.
        """
        ...

    def apply(self, name: str, documents: Sequence[Document], without: Collection[str] = ()) -> None:
        """Create or change these Kubernetes objects, under a name by which they are removed.

        The pods named `without` are endpoints of none of these Services.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove what was applied under this name, if anything was."""
        ...


def open_target() -> Target:
    """Return the cluster of the inventory in SOCKLB_INVENTORY, without reading anything yet."""
    inventory = hosts.load(hosts.path())
    name = hosts.path().stem
    if inventory.get_group("kubernetes", []):
        from labs.engine.kubernetes import KubernetesTarget  # noqa: PLC0415 - it stands on this module

        return KubernetesTarget(name, inventory)
    from labs.engine.local import LocalTarget  # noqa: PLC0415

    return LocalTarget(name, inventory)


def find_place(name: str) -> Place:
    """Return a place, without asking anybody if the inventory knows it."""
    return machine_of(hosts.load(hosts.path()), name) or open_target().place(name)


def machines(inventory: Inventory) -> dict[str, Host]:
    return {hosts.short_name(host): host for host in inventory}


def machine_of(inventory: Inventory, name: str) -> Place | None:
    host = machines(inventory).get(name)
    return machine(name, host) if host else None


def unknown(name: str, inventory: Inventory, cluster: Cluster) -> LabError:
    known = [*cluster.nodes, *(name for name in machines(inventory) if name not in cluster.nodes), *cluster.pods]
    return LabError(f"no node or pod '{name}'; there is: {', '.join(known)}")
