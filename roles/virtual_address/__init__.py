"""An address for the API that no machine owns: keepalived keeps it at a control plane whose API server answers."""

from ipaddress import ip_address, ip_interface
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.context import inventory as hosts
from pyinfra.operations import apt, files, systemd

from inventory.hosts import short_name
from roles.facts import Newer
from roles.node import plain_addresses
from roles.virtual_address.facts import Interface

HERE = Path(__file__).parent
CONFIG = "/etc/keepalived/keepalived.conf"
PIDFILE = "/run/keepalived.pid"


@deploy("virtual address")
def virtual_address() -> None:
    apt.packages(
        name="keepalived",
        packages=["keepalived"],
        no_recommends=True,
        extra_install_args="-o DPkg::Lock::Timeout=120",  # of an apt that an interrupted run has left running
    )
    address = ip_address(host.data.virtual_address)
    own = _of_family(plain_addresses(host), address.version)
    peers = [other for other in hosts.get_group("control_plane") if other != host]
    files.template(
        name="keepalived's configuration",
        src=str(HERE / "templates" / "keepalived.conf.j2"),
        dest=CONFIG,
        node=short_name(host),
        link=host.get_fact(Interface, address=own),
        address=f"{address}/{address.max_prefixlen}",
        router=int(address) % 255 + 1,
        own=own,
        peers=[_of_family(plain_addresses(other), address.version) for other in peers],
    )
    systemd.service(name="keepalived with it", service="keepalived", restarted=True, _if=_is_older)
    systemd.service(name="keepalived runs", service="keepalived", running=True, enabled=True)


def _is_older() -> bool:
    """Return whether keepalived was started before its configuration was written."""
    return host.get_fact(Newer, path=CONFIG, than=PIDFILE)


def _of_family(addresses: list[str], version: int) -> str:
    return next(one for one in addresses if ip_interface(one).version == version)
