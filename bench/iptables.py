"""Rules like those that kube-proxy's iptables mode gives the kernel: one linear chain of all Services.

    run_in(site.node, "iptables-restore", text=ruleset(services(1000)))

They have the chains and matches that a packet to a ClusterIP or a NodePort passes, in the same order. Affinity and
source ranges are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.networks import SERVER_PORT
from bench.services import PODS, SERVICE_PORT, ServicePort, short_hash

FILTER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT"""
NAT_CHAINS = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]"""
NAT = """\
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully"""
# The last one of its chain.
NODEPORTS = "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"


def ruleset(ports: Iterable[ServicePort]) -> str:
    """Return input for iptables-restore: linear chains of Services and NodePorts, a chain per Service and endpoint."""
    chains: list[str] = []
    rules: list[str] = []
    for port in ports:
        _add_service(port, chains, rules)
        if port.node_port:
            _add_external(port, chains, rules)
    declared = (f":{chain} - [0:0]" for chain in chains)
    return "\n".join([FILTER, NAT_CHAINS, *declared, NAT, *rules, NODEPORTS, "COMMIT", ""])


def _add_service(port: ServicePort, chains: list[str], rules: list[str]) -> None:
    service = _chain("SVC", port)
    match = f"-d {port.address}/32 -p {port.protocol} -m {port.protocol} --dport {SERVICE_PORT}"
    chains.append(service)
    rules += [
        f'-A KUBE-SERVICES {match} -m comment --comment "{port.name} cluster IP" -j {service}',
        f"-A {service} ! -s {PODS} {match} -j KUBE-MARK-MASQ",
        *_any_of(service, port),
    ]
    for endpoint in port.endpoints:
        chain = _chain("SEP", port, endpoint)
        chains.append(chain)
        rules += [
            f"-A {chain} -s {endpoint}/32 -j KUBE-MARK-MASQ",
            f"-A {chain} -p {port.protocol} -m {port.protocol} -j DNAT --to-destination {endpoint}:{SERVER_PORT}",
        ]


def _add_external(port: ServicePort, chains: list[str], rules: list[str]) -> None:
    """Masquerade clients outside; with externalTrafficPolicy Local, only the node's own processes."""
    external, service, local = (_chain(kind, port) for kind in ("EXT", "SVC", "SVL"))
    match = f"-p {port.protocol} -m {port.protocol} --dport {port.node_port}"
    chains.append(external)
    rules.append(f'-A KUBE-NODEPORTS {match} -m comment --comment "{port.name}" -j {external}')
    if not port.local:
        rules += [f"-A {external} -j KUBE-MARK-MASQ", f"-A {external} -j {service}"]
        return
    chains.append(local)
    rules += [
        f"-A {external} -s {PODS} -j {service}",
        f"-A {external} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
        f"-A {external} -m addrtype --src-type LOCAL -j {service}",
        f"-A {external} -j {local}",
        *_any_of(local, port),
    ]


def _any_of(chain: str, port: ServicePort) -> Iterator[str]:
    for i, endpoint in enumerate(port.endpoints):
        left = len(port.endpoints) - i
        share = f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else ""
        yield f"-A {chain} {share}-j {_chain('SEP', port, endpoint)}"


def _chain(kind: str, port: ServicePort, endpoint: str = "") -> str:
    return f"KUBE-{kind}-{short_hash(port.name + endpoint)}"
