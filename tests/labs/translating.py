"""A node that does to packets between pods what none should do."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import Place

FROM_PODS = "ip saddr 10.244.1.0/24 tcp dport 8080"
MASQUERADED = f"chain masqueraded {{ type nat hook postrouting priority 0; {FROM_PODS} masquerade; }}"


@contextmanager
def translating(node: Place) -> Iterator[None]:
    """The node gives what runs between pods its own address."""
    node.output("nft", f"table ip socklb-test {{ {MASQUERADED}; }}")
    try:
        yield
    finally:
        node.output("nft", "delete", "table", "ip", "socklb-test")
        node.output("conntrack", "-F")
