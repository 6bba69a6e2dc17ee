"""A node that does to packets between pods what none should do."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import Place

RULE = "ip saddr 10.244.1.0/24 tcp dport 8080 masquerade"
MASQUERADE = f"table ip socklb-test {{ chain c {{ type nat hook postrouting priority 0; {RULE}; }}; }}"


@contextmanager
def translating(node: Place) -> Iterator[None]:
    """The node tracks what runs between pods too, and gives it its own address."""
    kept = node.output("nft", "list", "chain", "inet", "socklb", "raw_prerouting")
    node.output("nft", "flush", "chain", "inet", "socklb", "raw_prerouting")
    node.output("nft", MASQUERADE)
    try:
        yield
    finally:
        node.output("nft", "delete", "table", "ip", "socklb-test")
        assert node.run(["nft", "-f", "-"], given=kept).returncode == 0
        node.output("conntrack", "-F")
