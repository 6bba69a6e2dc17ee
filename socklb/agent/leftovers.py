"""Traces of a kube-proxy on this node.

    for text in leftovers(): ...        # names of its tables and chains; run: kube-proxy --cleanup

The kubelet's own chains (KUBE-FIREWALL, KUBE-KUBELET-CANARY) do not count. The legacy tables of iptables, which are not
in nf_tables, are read with `iptables-legacy-save` if the node has it.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from socklb import netfilter

CHAINS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES")
LEGACY = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}


def leftovers() -> list[str]:
    """Return the names of what a kube-proxy left, or of what a running one uses.

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
