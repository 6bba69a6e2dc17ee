"""Checks of settings of an inventory over SSH. Each names host or setting, its value, and what to type."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations
from pathlib import Path
from re import fullmatch
from typing import Any, Protocol

from inventory.hosts import InventoryError

SOURCES = ("kubernetes", "distribution")  # or a folder
NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Network = IPv4Network | IPv6Network


class SettingsError(InventoryError):
    """These settings are not valid."""


class AMachine(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    @property
    def own(self) -> Mapping[str, Any]: ...


def known(settings: Iterable[str], valid: Iterable[str], machines: Iterable[AMachine], of_one: Collection[str]) -> None:
    unknown = sorted({*settings} - {*valid})
    if unknown:
        raise SettingsError(f"{unknown[0]}: no such setting. Valid: {', '.join(sorted(valid))}")
    for machine in machines:
        if wrong := sorted({*machine.own} - {*of_one}):
            raise SettingsError(
                f"{machine.name}: {wrong[0]}: no setting of one machine. Valid: {', '.join(sorted(of_one))}"
            )


def machines(control_plane: Sequence[AMachine], workers: Sequence[AMachine]) -> None:
    if len(control_plane) % 2 == 0:
        raise SettingsError(
            f"control_plane has {len(control_plane)} machines. Valid: 1, 3 or 5: etcd can lose none, one or two"
        )
    seen: dict[str, str] = {}
    for machine in [*control_plane, *workers]:
        if not fullmatch(NAME, machine.name):
            raise SettingsError(f"{machine.name!r} cannot be the name of a Node. Valid: a-z, 0-9, - (RFC 1123)")
        if machine.name in seen:
            raise SettingsError(f"{machine.name} is there twice. Next: give each machine its own host name")
        seen[machine.name] = machine.name
        if not machine.addresses:
            raise SettingsError(f'{machine.name} has no address. Next: machine("{machine.name}", "192.0.2.10")')
        for address in machine.addresses:
            canonical = str(_address(machine.name, address))
            if canonical in seen:
                raise SettingsError(f"{machine.name} and {seen[canonical]} have the same address {canonical}")
            seen[canonical] = machine.name


def endpoint(control_plane: Sequence[AMachine], machines: Sequence[AMachine], settings: Mapping[str, Any]) -> None:
    """Check that the API has an address that stays when a machine is lost, where there are several."""
    virtual = settings["virtual_address"]
    if len(control_plane) > 1 and not (virtual or settings["api_endpoint"]):
        raise SettingsError(
            f"control_plane has {len(control_plane)} machines, and the API no address of its own. Next: "
            'virtual_address="192.0.2.9", one of their network that nobody has, or the api_endpoint of a load balancer'
        )
    if virtual is None:
        return
    address = _address("virtual_address", virtual)
    for machine in machines:
        if address in {_address(machine.name, one) for one in machine.addresses}:
            raise SettingsError(f"virtual_address = {virtual!r} is {machine.name}'s. Next: one that nobody has")
    for machine in control_plane:
        if address.version not in {_address(machine.name, one).version for one in machine.addresses}:
            raise SettingsError(f"virtual_address = {virtual!r}: {machine.name} has no IPv{address.version} address")


def networks(machines: Sequence[AMachine], settings: Mapping[str, Any]) -> None:
    """Check that pods and Services have one network per family each, none inside another and none around a machine."""
    named: list[tuple[str, Network]] = []
    for key in ("pod_cidrs", "service_cidrs"):
        found = [_network(key, cidr) for cidr in settings[key]]
        if sorted({one.version for one in found}) != sorted(one.version for one in found) or not found:
            raise SettingsError(f"{key} = {settings[key]}: it takes one network of IPv4, one of IPv6, or one of each")
        named += [(key, one) for one in found]
    if len({tuple(sorted(one.version for key, one in named if key == what)) for what, _ in named}) > 1:
        raise SettingsError(
            "pod_cidrs and service_cidrs differ in their families. Next: the same of IPv4 and IPv6 in both"
        )
    for (key, one), (other_key, other) in combinations(named, 2):
        if one.version == other.version and one.overlaps(other):  # type: ignore[arg-type] - of one version
            raise SettingsError(f"{key} {one} and {other_key} {other} overlap. Next: choose one that is apart")
    for machine in machines:
        _apart(machine, named)


def source(settings: Mapping[str, Any]) -> None:
    chosen = str(settings["source"])
    if chosen not in SOURCES and not (Path(chosen).expanduser() / "SHA256SUMS").is_file():
        raise SettingsError(
            f"source = {chosen!r}: no folder with SHA256SUMS. Valid: {', '.join(map(repr, SOURCES))}, or a folder as "
            "images/offline.sh makes it"
        )
    if not fullmatch(r"1\.\d+(\.\d+)?", str(settings["kubernetes_version"])):
        raise SettingsError(f"kubernetes_version = {settings['kubernetes_version']!r}. Valid: '1.34', '1.34.4'")


def files(settings: Mapping[str, Any], machines: Iterable[AMachine]) -> None:
    for own in (settings, *(machine.own for machine in machines)):
        for key in ("ssh_key", "ssh_known_hosts_file", "ssh_config_file"):
            if own.get(key) and not Path(own[key]).expanduser().is_file():
                raise SettingsError(f"{key} = {str(own[key])!r}: no such file")


def address_in(cidr: str, last: str) -> str:
    """Return the address of a network that ends as given, for people: 10.96.0.80, fd00:10:96::80."""
    network = ip_network(cidr)
    return str(network[int(last, 16 if network.version == 6 else 10)])


def _apart(machine: AMachine, named: Sequence[tuple[str, Network]]) -> None:
    addresses = [_address(machine.name, address) for address in machine.addresses]
    for version in sorted({one.version for _, one in named}):
        if version not in {address.version for address in addresses}:
            raise SettingsError(
                f"{machine.name} has no IPv{version} address, and pods and Services have. Next: give it one, or leave "
                f"the IPv{version} networks out of pod_cidrs and service_cidrs"
            )
    for address in addresses:
        for key, network in named:
            if address.version == network.version and address in network:
                raise SettingsError(
                    f"{machine.name} has the address {address} in {key} {network}. Next: another network"
                )


def _address(name: str, text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        raise SettingsError(f"{name}: {text!r} is no IP address. Valid: 192.0.2.10, 2001:db8::10") from None


def _network(key: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingsError(f"{key}: {error}. Valid: 10.244.0.0/16, fd00:10:244::/56") from None
