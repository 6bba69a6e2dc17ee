"""The servers, the firewall and host routing of this lab: what is set up, typed, and undone."""

from dataclasses import dataclass
from pathlib import Path

from labs.engine import agents
from labs.engine.env import Env
from labs.engine.packet import Endpoint
from labs.engine.places import Command, Output, at
from labs.engine.scenario import CURL, MANY, Scenario

WHOAMI, PORT = Path(__file__).with_name("whoami.py").read_text(), 8081
KIOSK, TABLE = "kiosk", "guard"
CHAIN = f"add table inet {TABLE}; add chain inet {TABLE} forward {{ type filter hook forward priority 0; }}"


@dataclass(frozen=True)
class Tracked:
    """What the node tracked while a rule asked for it."""

    entries: list[str]


def neighbour(on: Scenario) -> str:
    """Return the client on the node that is asked."""
    return on.client_at(on.asked)


def outside(on: Scenario) -> str:
    return on.outside or ""


def server(on: Scenario, place: str) -> Endpoint:
    return Endpoint(on.address(place), PORT)


def entries(on: Scenario, said: Output) -> list[str]:
    """Return the connections with the machine outside."""
    return [line for line in said.out.splitlines() if on.address(outside(on)) in line]


def conntrack(node: str) -> Command:
    return at(node, "conntrack", "-L")


def many(on: Scenario) -> Command:
    loop = f"for i in $(seq {MANY}); do {' '.join(CURL)} http://{server(on, outside(on))}/; done | uniq -c"
    return at(on.client, "sh", "-c", loop)


def firewall(on: Scenario) -> Command:
    drop = f"add rule inet {TABLE} forward ct state new ip saddr {on.address(outside(on))} counter drop"
    return at(on.asked, "nft", f"{CHAIN}; {drop}")


def kiosk(on: Scenario) -> Command:
    return on.curl(on.node_port(KIOSK), place=outside(on))


def whole_again(env: Env) -> None:
    for place in (neighbour(env.on), outside(env.on)):
        env.stop("whoami", place)
    for node in (env.on.client_node, env.on.asked):
        env.ask(at(node, "sh", "-c", f"nft delete table inet {TABLE}; conntrack -F"))
    agents.serve_again(env)


def servers(env: Env) -> None:
    whole_again(env)
    for place in (neighbour(env.on), outside(env.on)):
        env.start("whoami", at(place, "python3", "-c", WHOAMI))
        env.until(f"the server of {place} answers", lambda place=place: not env.ask(asks(env.on, place)).exit)


def asks(on: Scenario, place: str) -> Command:
    return on.curl(server(on, place))


def track_for_once(env: Env) -> None:
    """Have the client's node track the same connections, because a rule asks for it: the control."""
    servers(env)
    node = env.on.client_node
    env.run(at(node, "nft", f"{CHAIN}; add rule inet {TABLE} forward ct state new counter accept"))
    env.run(many(env.on))
    env.record(Tracked(entries(env.on, env.run(conntrack(node)))))
    env.ask(at(node, "sh", "-c", f"nft delete table inet {TABLE}; conntrack -F"))


def past_the_firewall(env: Env) -> None:
    """Have host routing on the node that is asked, and the firewall there.

    It is asked once before there is a firewall: to a neighbour that is not known the stack has to send.
    """
    servers(env)
    node = env.on.asked
    env.ask(kiosk(env.on))
    env.run(firewall(env.on))
    agents.restart_with(env, node, "host_routing = true")
