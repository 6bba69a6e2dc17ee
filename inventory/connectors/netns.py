"""The pyinfra connector `@netns/<node>`: a node of the local cluster, made from nothing when first used.

connect() makes nothing: pyinfra connects to every host before the first operation, and deploys/teardown.py must not
make the nodes that it removes. The first command does: `pyinfra @netns/w1 exec -- ip route` works on a bare machine.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.connectors.base import DataMeta
from typing_extensions import TypedDict, override

from inventory.connectors import container
from inventory.connectors.container import enter_argv
from inventory.connectors.entering import EnteringConnector

PREFIX = "@netns/"
TOOLS = ("ip", "nsenter", "unshare", "mount", "pivot_root", "tini")


class NetnsData(TypedDict):
    addresses: list[str]


class NetnsConnector(EnteringConnector):
    """Commands enter the node's cgroup and namespaces."""

    data_cls = NetnsData
    data_meta = {"addresses": DataMeta("addresses of the node's eth0, with prefix length", [])}  # noqa: RUF012

    @override
    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        if not container.NAME.fullmatch(name):
            raise InventoryError(f"{PREFIX}{name}: not the name of a node. Valid: {container.NAME.pattern}")
        yield PREFIX + name, {}, []

    @override
    def connect(self) -> None:
        if os.geteuid() != 0:
            raise ConnectError(f"{self.host.name}: network namespaces need root. Next: run the same command as root")
        missing = [tool for tool in TOOLS if not shutil.which(tool)]
        if missing:
            raise ConnectError(f"{self.host.name}: {', '.join(missing)} not found. Next: make setup")

    @override
    def enter(self) -> list[str]:
        container.ensure(self.node, self.data["addresses"])
        return enter_argv(self.node)
