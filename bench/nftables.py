"""Rules of the shape that kube-proxy's nftables mode gives the kernel: one verdict map of all Services.

    run_in(path.node, "nft", "-f", "-", text=ruleset(services(1000)))

Shape means: the chains, sets and matches that a packet of a ClusterIP meets, in their order. Affinity and source ranges
are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.networks import CLIENT_GATEWAY, SERVER_PORT
from bench.services import PODS, SERVICE_PORT, ServicePort, short_hash

TABLE = f"""\
table ip kube-proxy {{
    set cluster-ips {{ type ipv4_addr; }}
    set nodeport-ips {{ type ipv4_addr; elements = {{ {CLIENT_GATEWAY} }}; }}
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
    """Give input for nft: one verdict map of all Services, a chain a Service, a chain an endpoint."""
    chains: list[str] = []
    rules: list[str] = []
    elements: list[str] = []
    addresses: dict[str, None] = {}
    for port in ports:
        service = f"service-{short_hash(port.name)[:8]}-{port.name}"
        verdicts: list[str] = []
        chains.append(service)
        rules.append(f"{service} ip daddr {port.address} ip saddr != {PODS} jump mark-for-masquerade")
        for i, endpoint in enumerate(port.endpoints):
            chain = f"endpoint-{short_hash(port.name + endpoint)[:8]}-{port.name}__{endpoint}/{SERVER_PORT}"
            chains.append(chain)
            verdicts.append(f"{i} : goto {chain}")
            rules += [
                f"{chain} ip saddr {endpoint} jump mark-for-masquerade",
                f"{chain} meta l4proto {port.protocol} dnat to {endpoint}:{SERVER_PORT}",
            ]
        rules.append(f"{service} numgen random mod {len(verdicts)} vmap {{ {', '.join(verdicts)} }}")
        elements.append(f"{port.address} . {port.protocol} . {SERVICE_PORT} : goto {service}")
        addresses[port.address] = None
    return "\n".join(
        [
            TABLE,
            *(f"add chain ip kube-proxy {chain}" for chain in chains),
            *(f"add rule ip kube-proxy {rule}" for rule in rules),
            *_elements("service-ips", elements),
            *_elements("cluster-ips", list(addresses)),
            "",
        ]
    )


def _elements(name: str, elements: Sequence[str], each: int = 500) -> Iterator[str]:
    for i in range(0, len(elements), each):
        yield f"add element ip kube-proxy {name} {{ {', '.join(elements[i : i + each])} }}"
