"""What a node's packet path translates: the flows that it knows.

They are looked up with the command that a reader has. A node that does not let it read stops the lab: an empty answer
would look like "nothing there".
"""

import re
from collections.abc import Callable

from labs.engine.errors import CannotRunError
from labs.engine.places import Output

NO_PACKET_PATH = "no flows of ours on this node"  # as after `socklb cleanup`: nobody translates there
Ask = Callable[..., Output]  # env.run or env.quietly


def flows(ask: Ask, node: str, client: str) -> list[str]:
    """What this node translates for a client: protocol, client, what it asked for and who answers, without ages."""
    done = ask(node, "socklb", "flow", "list", "--client", client)
    if NO_PACKET_PATH in done.err:
        return []
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    rows = [re.split(r"\s{2,}", line)[:4] for line in done.out.splitlines()[1:]]
    return [f"{protocol} {client} to {asked}, answered by {backend}" for protocol, client, asked, backend in rows]
