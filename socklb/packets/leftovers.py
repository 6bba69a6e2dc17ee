"""Traces of a kube-proxy on this node.

    for text in leftovers(): ...        # names of its tables and chains; run: kube-proxy --cleanup

The kubelet's own chains (KUBE-FIREWALL, KUBE-KUBELET-CANARY) are none. iptables' legacy tables, which nftables does not
see, are looked into by `iptables-legacy-save` where the node has it.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from socklb.packets.nft import Nft

CHAINS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES")
LEGACY = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}


def leftovers() -> list[str]:
    """Name what a kube-proxy left, or what one that runs uses.

    Raises:
        SocklbError: nftables cannot be asked.
    """
    nft = Nft()
    try:
        tables = [f"table {family} {name}" for family, name in sorted(nft.tables()) if name == "kube-proxy"]
        chains = [
            f"chain {chain['family']} {chain['table']} {chain['name']}"
            for family in LEGACY
            for chain in nft.chains(family)
            if chain["name"] in CHAINS
        ]
    finally:
        nft.close()
    return [*tables, *chains, *(f"chain {text} (iptables-legacy)" for text in _legacy())]


def _legacy() -> list[str]:
    found: list[str] = []
    for family, program in LEGACY.items():
        if shutil.which(program):
            saved = subprocess.run([program, "-t", "nat"], capture_output=True, text=True, check=False).stdout
            found += [f"{family} nat {name}" for name in re.findall(r"^:(\S+)", saved, re.MULTILINE) if name in CHAINS]
    return found
