"""Traces of a kube-proxy on this node.

    for text in leftovers(): ...        # names of its tables and chains; run: kube-proxy --cleanup

The kubelet's own chains (KUBE-FIREWALL, KUBE-KUBELET-CANARY) are none. iptables' legacy tables, which nf_tables does
not have, are looked into by `iptables-legacy-save` where the node has it.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from socklb import netfilter

CHAINS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES")
LEGACY = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}


def leftovers() -> list[str]:
    """Name what a kube-proxy left, or what one that runs uses.

    Raises:
        OSError: netlink refused.
    """
    tables = [f"table {family} {name}" for family, name in sorted(netfilter.tables()) if name == "kube-proxy"]
    chains = [
        f"chain {family} {table} {name}"
        for family, table, name in sorted(netfilter.chains())
        if family in LEGACY and name in CHAINS
    ]
    return [*tables, *chains, *(f"chain {text} (iptables-legacy)" for text in _legacy())]


def _legacy() -> list[str]:
    found: list[str] = []
    for family, program in LEGACY.items():
        if shutil.which(program):
            saved = subprocess.run([program, "-t", "nat"], capture_output=True, text=True, check=False).stdout
            found += [f"{family} nat {name}" for name in re.findall(r"^:(\S+)", saved, re.MULTILINE) if name in CHAINS]
    return found
