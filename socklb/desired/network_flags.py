"""What the packet path needs to know about networks. Pure.

tables.networks.set(flags_of(config.pod_cidrs, config.native_cidrs, service_cidrs))
"""

from __future__ import annotations

from functools import lru_cache

from socklb.api.addresses import Network
from socklb.datapath import layout
from socklb.model import ANY4

IPV4 = Network(ANY4, 96)
KINDS = (layout.POD_NETWORK, layout.NATIVE_NETWORK, layout.SERVICE_NETWORK)


@lru_cache(maxsize=1)  # called for each change in the cluster
def flags_of(pods: tuple[str, ...], native: tuple[str, ...], services: tuple[str, ...]) -> dict[tuple[bytes, int], int]:
    """Return the flags of each network.

    A lookup finds the longest prefix only, so each network also has the flags of all networks that contain it. In the
    trie of 128 bits all of IPv4 lies in ::/0, which people do not mean: so it has an entry of its own, without the
    flags of ::/0.
    """
    asked = (pods, native, services)
    said = {(Network.parse(text), kind) for kind, texts in zip(KINDS, asked, strict=True) for text in texts}
    prefixes = {network for network, _ in said} | ({IPV4} if said else set[Network]())
    found = dict[tuple[bytes, int], int]()
    for prefix in prefixes:
        kinds = {kind for network, kind in said if network.bits <= prefix.bits and network.has(prefix.address)}
        found[prefix] = sum(kinds)
    return found
