"""An inventory of machines over SSH, made of settings. inventory/bare_metal.example.py explains each of them.

    control_plane, workers, nodes, kubernetes, machines = groups(
        control_plane=[machine("cp", "192.0.2.10")], workers=[machine("w1", "192.0.2.11")], ssh_user="admin"
    )

    checks: what each setting must be, with an error that names host or setting, its value, and what to type

A setting that cannot work is refused in one line, before any machine is reached. All data of a host is here, so that a
file with such an inventory may lie anywhere: `SOCKLB_INVENTORY=/etc/my-cluster.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inventory.group_data import all as _all
from inventory.machines import checks
from inventory.ways.ssh import UNHOOKED

PREFIX = "@machine/"
HOUR = 3600  # seconds
Host = tuple[str, dict[str, Any]]

# Every setting of groups(), with its default.
DEFAULTS: dict[str, Any] = {
    "ssh_user": "root",
    "ssh_key": None,
    "ssh_port": 22,
    "ssh_known_hosts_file": None,
    "ssh_strict_host_key_checking": "yes",
    "ssh_config_file": None,
    "sudo": False,
    "sudo_password": None,
    "kubernetes_version": "1.34",
    "source": "kubernetes",
    "api_endpoint": None,
    "virtual_address": None,
    "pod_cidrs": ["10.244.0.0/16", "fd00:10:244::/56"],
    "service_cidrs": ["10.96.0.0/16", "fd00:10:96::/112"],
    "external_ips": ["203.0.113.0/24", "2001:db8::/32"],
    "tools_image": "socklb/tools:1",
    "lowers_oom_scores": True,
    "unhooked_slice": False,
    "keep": [],
}
OF_ONE = {key for key in DEFAULTS if key.startswith(("ssh_", "sudo"))} | {"ssh_hostname", "lowers_oom_scores"}


class Machine(NamedTuple):
    name: str
    addresses: tuple[str, ...]
    own: dict[str, Any]


def machine(name: str, *addresses: str, **own: Any) -> Machine:
    """A machine by its host name and its addresses on the nodes' network; `own` settings win over those of groups()."""
    return Machine(name, addresses, own)


def groups(
    control_plane: Sequence[Machine], workers: Sequence[Machine] = (), **settings: Any
) -> tuple[list[Host], list[Host], list[Host], list[Host], list[Host]]:
    """Return the groups `control_plane`, `workers`, `nodes`, `kubernetes` and `machines`.

    Raises:
        SettingsError: the settings are not valid.
    """
    every = [*control_plane, *workers]
    checks.known(settings, DEFAULTS, every, OF_ONE)
    chosen = DEFAULTS | settings
    checks.machines(control_plane, workers)
    checks.endpoint(control_plane, every, chosen)
    checks.networks(every, chosen)
    checks.source(chosen)
    checks.files(chosen, every)
    common = _of_cluster(control_plane, chosen)
    hosts = [(PREFIX + one.name, common | _of_machine(one, chosen)) for one in every]
    return hosts[: len(control_plane)], hosts[len(control_plane) :], hosts, hosts, hosts


def _of_cluster(control_plane: Sequence[Machine], chosen: dict[str, Any]) -> dict[str, Any]:
    asked = chosen["virtual_address"] or control_plane[0].addresses[0]
    address = f"[{asked}]" if ":" in asked else asked
    keys = (
        "virtual_address",
        "kubernetes_version",
        "source",
        "pod_cidrs",
        "service_cidrs",
        "external_ips",
        "tools_image",
        "unhooked_slice",
        "keep",
    )
    web = {**_all.services["web"], "addresses": _tens(chosen["service_cidrs"])}  # .10 is the cluster's DNS server
    return {
        **{key: chosen[key] for key in keys},
        "api_endpoint": chosen["api_endpoint"] or f"{address}:6443",
        "bypass_cgroups": [UNHOOKED] if chosen["unhooked_slice"] else [],
        "services": {**_all.services, "web": web},
        # For one command: an image may come over a slow line; a machine that hangs longer is given up.
        "_timeout": HOUR,
    }


def _of_machine(one: Machine, chosen: dict[str, Any]) -> dict[str, Any]:
    own = chosen | one.own
    ssh = {key: value for key, value in own.items() if key.startswith("ssh_") and value is not None}
    files = {key: str(Path(ssh[key]).expanduser()) for key in ssh if key.endswith(("_file", "_key"))}
    root = {"_sudo": True} if own["sudo"] else {}
    password = {"_sudo_password": own["sudo_password"]} if own["sudo_password"] else {}
    return {
        "ssh_hostname": one.addresses[0],
        **ssh,
        **files,
        **root,
        **password,
        "addresses": list(one.addresses),
        "lowers_oom_scores": own["lowers_oom_scores"],
    }


def _tens(cidrs: Sequence[str]) -> list[str]:
    """Return an address in each network that is easy to remember, as in inventory/kind.py."""
    return [checks.address_in(cidr, "80") for cidr in cidrs]
