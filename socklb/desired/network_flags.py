"""What the packet path in eBPF is to know of networks. Pure.

tables.networks.set(flags_of(config.pod_cidrs, config.native_cidrs, service_cidrs))
"""

from __future__ import annotations

from functools import lru_cache

from socklb.api.addresses import Network
from socklb.datapath import layout
from socklb.model import ANY4

IPV4 = Network(ANY4, 96)
KINDS = (layout.POD_NETWORK, layout.NATIVE_NETWORK, layout.SERVICE_NETWORK)


@lru_cache(maxsize=1)  # asked with each change of the cluster
def flags_of(pods: tuple[str, ...], native: tuple[str, ...], services: tuple[str, ...]) -> dict[tuple[bytes, int], int]:
    """Return the flags of each network. The longest prefix is found alone, so it has those of all that it lies in.

    So has the whole of IPv4, which lies in ::/0 as a trie of 128 bits sees it, and in no IPv6 network as people do.
    """
    asked = (pods, native, services)
    said = {(Network.parse(text), kind) for kind, texts in zip(KINDS, asked, strict=True) for text in texts}
    prefixes = {network for network, _ in said} | ({IPV4} if said else set[Network]())
    found = dict[tuple[bytes, int], int]()
    for prefix in prefixes:
        kinds = {kind for network, kind in said if network.bits <= prefix.bits and network.has(prefix.address)}
        found[prefix] = sum(kinds)
    return found
