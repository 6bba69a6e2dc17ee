"""The flows that a node's packet path translates, as `socklb flow list` shows them.

They are read with the reader's own command. A node where it fails stops the lab: an empty result would look like
"nothing there".
"""

import re
from dataclasses import dataclass

from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.places import Command, at
from labs.engine.scenario import Scenario

NO_PACKET_PATH = "no flows of ours on this node"  # for example after `socklb cleanup`: nothing is translated there


@dataclass(frozen=True)
class Flows:
    """The flows of the client that each node translates, as a fact."""

    at: dict[str, list[str]]

    def new_since(self, earlier: "Flows") -> list[str]:
        return [flow for node, flows in self.at.items() for flow in flows if flow not in earlier.at[node]]


@dataclass(frozen=True)
class EarlierFlows(Flows):
    """The same before the reader acted."""


def look_for_flows(env: Env) -> None:
    """Record Flows: for observe()."""
    env.record(Flows(_everywhere(env)))


def look_for_earlier_flows(env: Env) -> None:
    """Record EarlierFlows: for before()."""
    env.record(EarlierFlows(_everywhere(env)))


def listing(on: Scenario, node: str) -> Command:
    """Return the reader's command to show the client's flows."""
    return at(node, "socklb", "flow", "list", "--client", on.address(on.client))


def flows(env: Env, node: str) -> list[str]:
    """Return the client's flows on a node: client, Service address and backend, without ages."""
    done = env.ask(listing(env.on, node))
    if NO_PACKET_PATH in done.err:
        return []
    if done.exit:
        raise CannotRunError(f"exit status {done.exit} from:\n  $ {done.typed}\n  {done.err.strip()}")
    rows = [re.split(r"\s{2,}", line)[:4] for line in done.out.splitlines()[1:]]
    return [f"{protocol} {client} to {asked}, answered by {backend}" for protocol, client, asked, backend in rows]


def _everywhere(env: Env) -> dict[str, list[str]]:
    return {node: flows(env, node) for node in env.on.nodes}
