"""Rules like those that kube-proxy's nftables mode gives the kernel: one verdict map of all Services.

    run_in(site.node, "nft", "-f", "-", text=ruleset(services(1000)))

They have the chains, sets and matches that a packet to a ClusterIP or a NodePort passes, in the same order. Affinity
and source ranges are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.networks import FAR_NODE, NODE, SERVER_PORT
from bench.services import PODS, SERVICE_PORT, ServicePort, short_hash

TABLE = f"""\
table ip kube-proxy {{
    set cluster-ips {{ type ipv4_addr; }}
    set nodeport-ips {{ type ipv4_addr; elements = {{ {NODE}, {FAR_NODE} }}; }}
    map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map service-nodeports {{ type inet_proto . inet_service : verdict; }}
    chain filter-prerouting-pre-dnat {{
        type filter hook prerouting priority -110;
        ct state new jump firewall-check
    }}
    chain filter-forward {{
        type filter hook forward priority 0;
        ct state new jump service-endpoints-check
        ct state new jump cluster-ips-check
    }}
    chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
    chain nat-output {{ type nat hook output priority -100; jump services; }}
    chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
    chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
    chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
    chain cluster-ips-check {{
        ip daddr @cluster-ips reject
        ip daddr 10.96.0.0/12 drop
    }}
    chain mark-for-masquerade {{ mark set mark or 0x4000; }}
    chain masquerading {{
        mark and 0x4000 == 0 return
        mark set mark xor 0x4000
        masquerade fully-random
    }}
    chain services {{
        ip daddr . meta l4proto . th dport vmap @service-ips
        ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
    }}
}}"""


def ruleset(ports: Iterable[ServicePort]) -> str:
    """Return input for nft: a verdict map of Services, one of NodePorts, one chain per Service and endpoint."""
    chains: list[str] = []
    rules: list[str] = []
    asked: list[str] = []
    node_ports: list[str] = []
    addresses: dict[str, None] = {}
    for port in ports:
        service = f"service-{_name(port)}"
        _add_service(port, chains, rules)
        asked.append(f"{port.address} . {port.protocol} . {SERVICE_PORT} : goto {service}")
        addresses[port.address] = None
        if port.node_port:
            _add_external(port, chains, rules)
            node_ports.append(f"{port.protocol} . {port.node_port} : goto external-{_name(port)}")
    return "\n".join(
        [
            TABLE,
            *(f"add chain ip kube-proxy {chain}" for chain in chains),
            *(f"add rule ip kube-proxy {rule}" for rule in rules),
            *_elements("service-ips", asked),
            *_elements("service-nodeports", node_ports),
            *_elements("cluster-ips", list(addresses)),
            "",
        ]
    )


def _add_service(port: ServicePort, chains: list[str], rules: list[str]) -> None:
    service = f"service-{_name(port)}"
    chains.append(service)
    rules.append(f"{service} ip daddr {port.address} ip saddr != {PODS} jump mark-for-masquerade")
    for endpoint in port.endpoints:
        chain = _endpoint(port, endpoint)
        chains.append(chain)
        rules += [
            f"{chain} ip saddr {endpoint} jump mark-for-masquerade",
            f"{chain} meta l4proto {port.protocol} dnat to {endpoint}:{SERVER_PORT}",
        ]
    rules.append(f"{service} {_any_of(port)}")


def _add_external(port: ServicePort, chains: list[str], rules: list[str]) -> None:
    """Masquerade clients outside; with externalTrafficPolicy Local, only the node's own processes."""
    external, service, local = (f"{kind}-{_name(port)}" for kind in ("external", "service", "local"))
    chains.append(external)
    if not port.local:
        rules += [f"{external} jump mark-for-masquerade", f"{external} goto {service}"]
        return
    chains.append(local)
    rules += [
        f"{external} ip saddr {PODS} goto {service}",
        f"{external} fib saddr type local jump mark-for-masquerade",
        f"{external} fib saddr type local goto {service}",
        f"{external} goto {local}",
        f"{local} {_any_of(port)}",
    ]


def _any_of(port: ServicePort) -> str:
    verdicts = ", ".join(f"{i} : goto {_endpoint(port, one)}" for i, one in enumerate(port.endpoints))
    return f"numgen random mod {len(port.endpoints)} vmap {{ {verdicts} }}"


def _name(port: ServicePort) -> str:
    return f"{short_hash(port.name)[:8]}-{port.name}"


def _endpoint(port: ServicePort, endpoint: str) -> str:
    return f"endpoint-{short_hash(port.name + endpoint)[:8]}-{port.name}__{endpoint}/{SERVER_PORT}"


def _elements(name: str, elements: Sequence[str], each: int = 500) -> Iterator[str]:
    for i in range(0, len(elements), each):
        yield f"add element ip kube-proxy {name} {{ {', '.join(elements[i : i + each])} }}"
