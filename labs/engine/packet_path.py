"""What a node's packet path does to connections: its entries for them, and its rules that change addresses.

Both are looked up in the node's own tables with the tools that a reader has. A node without such a tool, or one that
does not let it read, stops the lab: an empty answer would look like "nothing there".
"""

import re
from collections.abc import Callable

from labs.engine.errors import CannotRunError
from labs.engine.places import Output

# A rule that changes where a packet goes, as `nft list ruleset` and as `iptables-save` write it.
_REWRITES = re.compile(r"\b(dnat|redirect)\b|-j (DNAT|REDIRECT)\b")


Ask = Callable[..., Output]  # env.run or env.quietly


def connections(ask: Ask, node: str, source: str) -> list[str]:
    """The connections from this address that the node's kernel keeps an entry for."""
    return _answer(ask(node, "conntrack", "-L", "-s", source)).splitlines()


def translated(connection: str) -> bool:
    """Whether replies run between other addresses than the connection's own, as its conntrack entry tells."""
    ends = re.findall(r"\b(?:src|dst)=(\S+)", connection)
    return ends != ends[::-1]


def rewriting_rules(ask: Ask, node: str) -> list[str]:
    """The rules of the node that change a destination address."""
    looks = (("nft", "list", "ruleset"), ("iptables-save", "-t", "nat"))
    return [f"{node}: {rule}" for look in looks for rule in rewriting(_answer(ask(node, *look)))]


def rewriting(ruleset: str) -> list[str]:
    return [line.strip() for line in ruleset.splitlines() if _REWRITES.search(line)]


def _answer(done: Output) -> str:
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    return done.out
