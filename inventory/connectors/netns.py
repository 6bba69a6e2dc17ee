"""The pyinfra connector `@netns/<node>`: a node of the local cluster, made from nothing when first used.

connect() makes nothing: pyinfra connects to every host before the first operation, and deploys/teardown.py must not
make the nodes that it removes. The first command does: `pyinfra @netns/w1 exec -- ip route` works on a bare machine. A
host that is in no inventory is refused: otherwise a mistyped name would become a node without addresses.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.connectors.base import DataMeta
from typing_extensions import TypedDict, override

from inventory import hosts
from inventory.connectors import netns_node
from inventory.connectors.entering import EnteringConnector
from inventory.connectors.netns_node import enter_argv

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
        if not netns_node.NAME.fullmatch(name):
            raise InventoryError(f"{PREFIX}{name}: not the name of a node. Valid: {netns_node.NAME.pattern}")
        yield PREFIX + name, {"addresses": addresses_of(PREFIX + name)}, []  # the inventory's own data takes precedence

    @override
    def connect(self) -> None:
        if os.geteuid() != 0:
            raise ConnectError(f"{self.host.name}: network namespaces need root. Next: run the same command as root")
        missing = [tool for tool in TOOLS if not shutil.which(tool)]
        if missing:
            raise ConnectError(f"{self.host.name}: {', '.join(missing)} not found. Next: make setup")
        if not self.data["addresses"] and not netns_node.remains(self.node):
            raise ConnectError(f"{self.host.name}: no inventory has this node. Valid: {', '.join(known())}")

    @override
    def enter(self) -> list[str]:
        netns_node.ensure(self.node, self.data["addresses"])
        return enter_argv(self.node)

    @override
    def removal(self) -> Iterator[FunctionCommand]:
        strays = self._strays()
        if netns_node.remains(self.node) or strays:
            for node in (*strays, self.node):
                yield FunctionCommand(netns_node.remove, (node,), {})

    def _strays(self) -> list[str]:
        """Return the nodes that exist and are in no inventory: they are removed together with a whole cluster.

        One host removes them, the first. If only a part of the cluster is removed (`--limit`, or a host on the command
        line), they stay.
        """
        every = self.state.inventory
        ours = [one for one in every if one.name.startswith(PREFIX)]
        whole = self.host.groups and len(every.get_active_hosts()) == len(every)
        if self.host not in ours[:1] or not whole:
            return []
        names = {one.name for one in ours} | set(known())
        return [node for node in netns_node.nodes() if PREFIX + node not in names]


def addresses_of(host: str) -> list[str]:
    """Return the addresses in our own inventories, for a host on the command line: `pyinfra @netns/w1 exec`."""
    found = [one for one in _everyone() if one.name == host]
    return found[0].data.get("addresses", []) if found else []


def known() -> list[str]:
    return sorted(host.name for host in _everyone() if host.name.startswith(PREFIX))


def _everyone() -> list[hosts.Host]:
    return [host for name in hosts.names() for host in hosts.load(hosts.path(name))]


def refuse_a_folder_without_the_inventory(typed: Sequence[str]) -> None:
    """Refuse it: pyinfra would take `inventory` for a host, find none, do nothing and call that a success.

    pyinfra looks in the folder that it runs in, and reads config.py there, which makes `inventory` work.
    """
    if Path(typed[0]).name == "pyinfra" and "inventory" in typed[1:] and not Path("config.py").exists():
        raise InventoryError(
            f"{Path.cwd()} holds no inventory: pyinfra works in the checkout. Next: cd {hosts.FOLDER.parent}, and the "
            "same command again"
        )


refuse_a_folder_without_the_inventory(sys.argv)
