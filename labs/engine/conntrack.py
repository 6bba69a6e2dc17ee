"""A node's connection tracking entries, as `conntrack -L` prints them.

    lab.step(..., observe=look_at_connection_tracking)    on the client's node
    one = seen[Remembered].of(connection)                 the entry of one of the client's connections, or None
    one.server != one.answers                             the connection is translated

Each entry has two directions: as the connection was begun, and as its replies arrive. If they do not mirror each other,
the node changes addresses in between.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from labs.engine.conversation import Conversation
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.packet import Endpoint
from labs.engine.places import Command, at

_ENDS = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")


@dataclass(frozen=True)
class Tracked:
    """A connection: client and server, who answers, and to which address."""

    client: Endpoint
    server: Endpoint
    answers: Endpoint
    answered: Endpoint

    @property
    def plain(self) -> bool:
        """Return whether nothing is translated: replies come from the requested address, to the client's."""
        return (self.answers, self.answered) == (self.server, self.client)

    def __str__(self) -> str:
        return f"{self.client} → {self.server}, and back {self.answers} → {self.answered}"


@dataclass(frozen=True)
class Remembered:
    """The entries of the client on the client's node, as a fact."""

    entries: list[Tracked]

    def of(self, connection: Conversation) -> Tracked | None:
        """A client's port may have been that of an earlier connection, to somebody else."""
        ends = (connection.client, connection.server)
        return next((entry for entry in self.entries if (entry.client, entry.server) == ends), None)


def look_at_connection_tracking(env: Env) -> None:
    """Record Remembered: for observe()."""
    env.record(Remembered(tracked(env, env.on.client_node, env.on.address(env.on.client))))


def listing(node: str, client: str) -> Command:
    """Return the reader's command to show the TCP connections that an address began."""
    return at(node, "conntrack", "-L", "-p", "tcp", "--src", client)


def tracked(env: Env, node: str, client: str) -> list[Tracked]:
    """Return them, including ended ones that are still remembered.

    Raises:
        CannotRunError: the node cannot list them. An empty result would look like "nothing there".
    """
    done = env.ask(listing(node, client))
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    return [*parse(done.out)]


def parse(listed: str) -> Iterator[Tracked]:
    for line in listed.splitlines():
        ends = [
            (Endpoint(source, int(sport)), Endpoint(target, int(dport)))
            for source, target, sport, dport in _ENDS.findall(line)
        ]
        if len(ends) == 2:
            yield Tracked(*ends[0], *ends[1])
