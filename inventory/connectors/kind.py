"""The pyinfra connector `@kind/<node>`: a node of a kind cluster, which is made when the first command is run on one.

pyinfra's own @docker would take a name without a container for an image, and pull it. connect() only checks whether
docker answers: deploys/teardown.py must not make the cluster that it removes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.base import DataMeta
from typing_extensions import TypedDict, override

from inventory.connectors import kind_cluster, kind_outside
from inventory.connectors.entering import EnteringConnector
from inventory.connectors.kind_cluster import ClusterError, Wanted
from inventory.connectors.this_machine import lock
from inventory.hosts import container_of

PREFIX = "@kind/"


class KindData(TypedDict):
    kind_cluster: str
    container: str
    kind_image: str
    kind_workers: int
    kind_api_port: int
    kube_proxy_mode: str
    pod_cidrs: list[str]
    service_cidrs: list[str]
    adopt: str


class KindConnector(EnteringConnector):
    """Commands run by `docker exec`."""

    data_cls = KindData
    data_meta = {  # noqa: RUF012
        "kind_cluster": DataMeta("name of the cluster"),
        "container": DataMeta("the container, where it is not called like the host: of a machine that is no node", ""),
        "kind_image": DataMeta("image of its nodes; must be in docker"),
        "kind_workers": DataMeta("how many workers it has", 2),
        "kind_api_port": DataMeta("the API server's port on this machine; 0: any that is free", 0),
        "kube_proxy_mode": DataMeta("none, or iptables or nftables for a cluster that is to be taken over", "none"),
        "pod_cidrs": DataMeta("networks of all pods, one for each family"),
        "service_cidrs": DataMeta("networks of all Services, one for each family"),
        "adopt": DataMeta("yes: a cluster that somebody else made may be changed", "no"),
    }

    # For all nodes of this process: one tries, and its result is reported once.
    outcomes: dict[str, ClusterError | None] = {}  # noqa: RUF012
    told: set[str] = set()  # noqa: RUF012

    @override
    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield PREFIX + name, {}, []

    @override
    def connect(self) -> None:
        try:
            kind_cluster.docker("version")
        except ClusterError as error:
            raise ConnectError(self._said_once(error)) from None

    @override
    def enter(self) -> list[str]:
        wanted, adopt = self._wanted(), self.data["adopt"] == "yes"
        self._once(wanted.name, partial(kind_cluster.ensure, wanted, adopt))
        if beside := self.data["container"]:
            self._once(beside, partial(kind_outside.ensure, beside, wanted))
        return ["docker", "exec", "--interactive", container_of(self.host)]

    def _once(self, name: str, ensure: Callable[[], None]) -> None:
        if name not in self.outcomes:
            with lock():  # the other nodes' greenlets wait here, and find the result
                if name not in self.outcomes:
                    self.outcomes[name] = self._outcome(ensure)
        if error := self.outcomes[name]:
            raise ClusterError(self._said_once(error))

    @override
    def removal(self) -> Iterator[FunctionCommand]:
        """Yield the removal of a kind cluster as a whole, by its control plane; a client outside is removed alone."""
        name, beside = self.data["kind_cluster"], self.data["container"]
        if beside:
            if kind_outside.removable(beside, name):
                yield FunctionCommand(kind_outside.remove, (beside, name), {})
        elif self.host == self.state.inventory.get_group("control_plane")[0] and kind_cluster.removable(name):
            yield FunctionCommand(kind_cluster.remove, (name,), {})

    def _said_once(self, error: ClusterError) -> str:
        text = str(error)
        if text in self.told:
            return f"{self.node}: as above"
        self.told.add(text)
        return text

    def _outcome(self, ensure: Callable[[], None]) -> ClusterError | None:
        try:
            ensure()
        except ClusterError as error:
            return error
        return None

    def _wanted(self) -> Wanted:
        data = self.data
        return Wanted(
            name=data["kind_cluster"],
            image=data["kind_image"],
            workers=int(data["kind_workers"]),
            pod_cidrs=data["pod_cidrs"],
            service_cidrs=data["service_cidrs"],
            kube_proxy_mode=data["kube_proxy_mode"],
            api_port=int(data["kind_api_port"]),
        )
