"""Makes a machine a node: names of the others, forwarding, and native routes to the pods of the other nodes (no
tunnel).

The machine itself, in the local cluster a container-like node, comes from the inventory's connector. On kind its name
is known already. In Kubernetes the agent keeps the routes, because Nodes come and go.
"""

from collections.abc import Collection
from ipaddress import ip_interface, ip_network

from pyinfra.api.deploy import deploy
from pyinfra.api.host import Host
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.node.operations import names, no_way_out, routes, sysctls

FORWARD = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}


@deploy("node")
def node(native: Collection[int] = (4, 6)) -> None:
    """Set up native routes in these address families. In others, other software routes to the other nodes' pods."""
    kubernetes = "kubernetes" in host.groups
    if "kubernetes" not in hosts.groups or "machines" in host.groups:
        lines = [f"{address} {short_name(other)}" for other in hosts for address in plain_addresses(other)]
        names(name="The machines by name", lines=lines)
    if host.data.get("container"):
        no_way_out(name="No route but to the nodes")
    if "nodes" in host.groups:
        sysctls(name="Forward packets", values=FORWARD)
    if "nodes" in host.groups and not kubernetes:
        every = pod_routes(host, hosts.get_group("nodes"))
        ours = {cidr: gateway for cidr, gateway in every.items() if ip_network(cidr).version in native}
        routes(name="Routes to the other nodes' pods", wanted=ours, unwanted=[*every.keys() - ours])


def plain_addresses(machine: Host) -> list[str]:
    """Return the machine's addresses on the nodes' network, without prefix length."""
    return [str(ip_interface(address).ip) for address in machine.data.addresses]


def pod_routes(node: Host, nodes: list[Host]) -> dict[str, str]:
    """Return each other node's pod CIDRs, through that node's address of the same family."""
    gateways = {
        (other, ip_network(cidr)): address
        for other in nodes
        if other != node
        for cidr in other.data.pod_cidrs
        for address in plain_addresses(other)
        if ip_interface(address).version == ip_network(cidr).version
    }
    return {str(cidr): address for (_, cidr), address in gateways.items()}
