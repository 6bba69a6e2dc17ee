"""What a node's packet path does to connections: the entries that it keeps for them.

They are looked up with the tool that a reader has. A node without it, or one that does not let it read, stops the lab:
an empty answer would look like "nothing there".
"""

import re
from collections.abc import Callable

from labs.engine.errors import CannotRunError
from labs.engine.places import Output

Ask = Callable[..., Output]  # env.run or env.quietly


def connections(ask: Ask, node: str, source: str) -> list[str]:
    """The connections from this address that the node's kernel keeps an entry for."""
    return _answer(ask(node, "conntrack", "-L", "-s", source)).splitlines()


def translated(connection: str) -> bool:
    """Whether replies run between other addresses than the connection's own, as its conntrack entry tells."""
    ends = re.findall(r"\b(?:src|dst)=(\S+)", connection)
    return ends != ends[::-1]


def _answer(done: Output) -> str:
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    return done.out
