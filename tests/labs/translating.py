"""A node that does to packets between pods what none should do."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import Place

FROM_PODS = "ip saddr 10.244.1.0/24 tcp dport 8080"
# Who has a zone, be it the ordinary one, is tracked whatever later rules say: `notrack` leaves alone what has an entry
# or a template of one (nft_notrack_eval()). So our table stays as it is, and the agent has nothing to mend.
TRACKED = f"chain tracked {{ type filter hook prerouting priority -310; {FROM_PODS} ct zone set 0; }}"
MASQUERADED = f"chain masqueraded {{ type nat hook postrouting priority 0; {FROM_PODS} masquerade; }}"


@contextmanager
def translating(node: Place) -> Iterator[None]:
    """The node tracks what runs between pods too, and gives it its own address."""
    node.output("nft", f"table ip socklb-test {{ {TRACKED}; {MASQUERADED}; }}")
    try:
        yield
    finally:
        node.output("nft", "delete", "table", "ip", "socklb-test")
        node.output("conntrack", "-F")
