"""The inventory as data, without pyinfra: for labs and tests.

    hosts = load(path("local"))
    hosts.get_group("workers")[0].data.pods

It reads the same files as pyinfra and in the same way: the inventory, the group data beside it, and the group with the
file's name, which takes precedence over all others. pyinfra's own loader costs 0.9 s of CPU and patches the standard
library.
"""

import os
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

FOLDER = Path(__file__).parent
DEFAULT = "local"
MODULES = {"__init__", "hosts", "place", "reach", "testinfra_host"}  # modules here that are not inventories
Entry = str | tuple[str, dict[str, Any]]


class InventoryError(Exception):
    """An inventory does not exist, or its contents are not valid."""


class UnknownInventoryError(InventoryError):
    """There is no inventory with this name."""


class AnyHost(Protocol):
    """A host of ours or of pyinfra's."""

    @property
    def name(self) -> str:
        """Return its name in the inventory: `@netns/w1`."""
        ...

    @property
    def data(self) -> Any:
        """Return the inventory's data for it."""
        ...


class Data:
    """The inventory's data for one host, as attributes."""

    def __init__(self, host: str, values: Mapping[str, Any]) -> None:
        self._host, self._values = host, values

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._values:
            raise AttributeError(f"{self._host} has no data {key!r}")
        return self._values[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def dict(self) -> dict[str, Any]:
        return dict(self._values)


class Host:
    """A host, its groups and its data."""

    def __init__(self, name: str, inventory: "Inventory", groups: list[str], values: Mapping[str, Any]) -> None:
        self.name, self.inventory, self.groups = name, inventory, groups
        self.data = Data(name, values)

    def __repr__(self) -> str:
        return f"Host({self.name})"


class Inventory:
    """All hosts, and groups of them by name."""

    def __init__(self, groups: Mapping[str, list[Entry]], data: Mapping[str, Mapping[str, Any]]) -> None:
        """Take groups in the order of their data's precedence: a later group's values override an earlier one's."""
        own: dict[str, dict[str, Any]] = {}
        for entry in (entry for entries in groups.values() for entry in entries):
            name, said = (entry, {}) if isinstance(entry, str) else entry
            own.setdefault(name, {}).update(said)
        members = {group: [_name(entry) for entry in entries] for group, entries in groups.items()}
        self._hosts: dict[str, Host] = {}
        for name, said in own.items():
            of = [group for group in groups if name in members[group]]
            values = {key: value for group in ("all", *of) for key, value in data.get(group, {}).items()}
            self._hosts[name] = Host(name, self, of, values | said)
        self._groups = {group: [self._hosts[name] for name in dict.fromkeys(names)] for group, names in members.items()}

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def get_host(self, name: str) -> Host | None:
        return self._hosts.get(name)

    def get_group(self, name: str, default: list[Host] | None = None) -> list[Host]:
        """Return the hosts of a group. Without `default` it must exist."""
        return self._groups[name] if default is None else self._groups.get(name, default)


def names(folder: Path = FOLDER) -> list[str]:
    return sorted({file.stem for file in folder.glob("*.py") if "." not in file.stem} - MODULES)  # .example.py: to copy


def path(name: str | None = None, folder: Path = FOLDER) -> Path:
    """Return the file of this inventory; without a name, of the one in SOCKLB_INVENTORY. The name may be a path, too.

    Raises:
        UnknownInventoryError: there is none.
    """
    said = name or os.environ.get("SOCKLB_INVENTORY") or DEFAULT
    if said.endswith(".py") and Path(said).is_file():
        return Path(said)
    if said not in names(folder):
        what = f"'{said}'" if name else f"SOCKLB_INVENTORY={said}"
        raise UnknownInventoryError(f"{what}: no such inventory in {folder.name}/. Valid: {', '.join(names(folder))}")
    return folder / f"{said}.py"


def load(inventory: Path) -> Inventory:
    groups = {name: cast("list[Entry]", hosts) for name, hosts in _values(inventory).items() if isinstance(hosts, list)}
    data = {file.stem: _values(file) for file in sorted((inventory.parent / "group_data").glob("*.py"))}
    everyone = [entry for hosts in groups.values() for entry in hosts]
    return Inventory({**groups, inventory.stem: everyone}, data)


def short_name(host: AnyHost) -> str:
    """Return the node's own name: `w1` for `@netns/w1`."""
    return host.name.rsplit("/", 1)[-1]


def container_of(host: AnyHost) -> str:
    """Return the container of a host of docker or kind: it has the host's name, or the name in its data."""
    return host.data.get("container") or short_name(host)


def _values(file: Path) -> dict[str, Any]:
    return {name: value for name, value in runpy.run_path(str(file)).items() if not name.startswith("_")}


def _name(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry[0]
