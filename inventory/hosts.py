"""The inventory as data, for those who are not pyinfra: labs and tests.

    hosts = load(path("local"))
    hosts.get_group("workers")[0].data.pods

pyinfra's own loader would patch the standard library for gevent; this one only reads the same files: the inventory, the
group data beside it, and the group named like the file, which wins over all others.
"""

import os
import runpy
from pathlib import Path
from typing import Any, cast

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

FOLDER = Path(__file__).parent
Entry = str | tuple[str, dict[str, Any]]


def path(name: str | None = None) -> Path:
    """The file of this inventory; without a name, of the one that config.py takes."""
    return FOLDER / f"{name or os.environ.get('SOCKLB_INVENTORY', 'local')}.py"


def load(inventory: Path) -> Inventory:
    groups = {name: cast("list[Entry]", hosts) for name, hosts in _values(inventory).items() if isinstance(hosts, list)}
    everyone = list(dict.fromkeys(_name(entry) for hosts in groups.values() for entry in hosts))
    data = {file.stem: _values(file) for file in sorted((inventory.parent / "group_data").glob("*.py"))}
    with_data = {name: (hosts, data.get(name, {})) for name, hosts in groups.items()}
    with_data[inventory.stem] = (cast("list[Entry]", everyone), data.get(inventory.stem, {}))
    return Inventory((everyone, data.get("all", {})), **with_data)


def short_name(host: Host) -> str:
    """`@netns/w1` -> `w1`, as the node calls itself."""
    return host.name.rsplit("/", 1)[-1]


def testinfra_spec(host: Host) -> str:
    """What testinfra.get_host() takes to reach this host."""
    kind, _, name = host.name.partition("/")
    match kind:
        case "@netns":
            return f"netns://{name}"
        case "@docker" | "@kind":
            return f"docker://{name}"
        case "@local":
            return "local://"
        case _:
            return f"ssh://{host.data.get('ssh_hostname') or name or kind}"


def _values(file: Path) -> dict[str, Any]:
    return {name: value for name, value in runpy.run_path(str(file)).items() if not name.startswith("_")}


def _name(entry: Entry) -> str:
    return entry if isinstance(entry, str) else entry[0]
