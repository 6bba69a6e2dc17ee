"""A node that does to packets what none should do."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from inventory.place import Place

FROM_PODS = "ip saddr 10.244.1.0/24 tcp dport 8080"


def translating(node: Place, which: str = FROM_PODS) -> AbstractContextManager[None]:
    """The node gives these packets its own address."""
    return with_chain(node, f"type nat hook postrouting priority 0; {which} masquerade")


@contextmanager
def with_chain(node: Place, rules: str) -> Iterator[None]:
    """The node has a chain of these rules; what conntrack made of them goes with it."""
    node.output("nft", f"table ip socklb-test {{ chain test {{ {rules}; }}; }}")
    try:
        yield
    finally:
        node.output("nft", "delete", "table", "ip", "socklb-test")
        node.output("conntrack", "-F")
