"""A node that does to packets between pods what none should do."""

from collections.abc import Iterator
from contextlib import contextmanager

from inventory.place import Place

FROM_PODS = "ip saddr 10.244.1.0/24 tcp dport 8080"


@contextmanager
def translating(node: Place, which: str = FROM_PODS) -> Iterator[None]:
    """The node gives these packets its own address."""
    chain = f"chain masqueraded {{ type nat hook postrouting priority 0; {which} masquerade; }}"
    node.output("nft", f"table ip socklb-test {{ {chain}; }}")
    try:
        yield
    finally:
        node.output("nft", "delete", "table", "ip", "socklb-test")
        node.output("conntrack", "-F")
