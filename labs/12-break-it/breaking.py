"""How each step's damage is done before the reader begins, what the reader types, and how all of it is undone."""

from dataclasses import dataclass
from pathlib import Path

from labs.engine import agents
from labs.engine.cluster import V4, V6
from labs.engine.env import Env
from labs.engine.model import Commands
from labs.engine.places import Command, at
from labs.engine.scenario import CURL, Scenario

FOREIGN = Path(__file__).with_name("foreign.py")
CGROUP, PINS = "/sys/fs/cgroup", "/sys/fs/bpf/socklb/v3"
MANIFESTS, AWAY = "/etc/socklb/manifests", "/etc/socklb/away"
SPOILED = f"{MANIFESTS}/lab-spoiled.yaml"
MEND = f"[ ! -d {AWAY} ] || mv {AWAY} {MANIFESTS}; rm -f {SPOILED}"
BAD = """apiVersion: v1
kind: Service
metadata: {name: spoiled, namespace: default}
spec: {clusterIP: 10.96.300.1, ports: [{port: 80}]}
"""


@dataclass(frozen=True)
class Broken:
    """What the client was told before the repair."""

    answer: str
    exit: int


def whole_again(env: Env) -> None:
    for node in (env.on.client_node, env.on.asked):
        env.ask(at(node, "sh", "-c", MEND))
    env.ask(foreign(env.on, "detach"))  # fails where there is none
    agents.serve_again(env)


def remove_hooks(env: Env) -> None:
    with env.capture(env.on.at_pod("broken")):
        _without_agent(env, env.on.client_node, f"rm -r {PINS}/links")
        _ask(env, env.on.curl(env.on.cluster_ip()))


def remove_packet_path(env: Env) -> None:
    _without_agent(env, env.on.asked, f"rm -r {PINS}/tc/links")
    env.until("the programs are gone", lambda: env.ask(from_outside(env.on)).exit)
    _ask(env, from_outside(env.on))


def attach_foreign_program(env: Env) -> None:
    node = env.on.client_node
    _without_agent(env, node, "socklb cleanup")
    env.ask(foreign(env.on, "attach"))
    env.ask(agents.start(env.on, node))
    env.ask(agents.synced(node))


def write_bad_manifest(env: Env) -> None:
    whole_again(env)
    env.ask(at(env.on.client_node, "sh", "-c", 'printf %s "$1" >"$2"', "sh", BAD, SPOILED))


def leave_no_room(env: Env) -> None:
    """Start an agent whose tables hold two frontends. Tables that are there already would stay larger."""
    node = env.on.client_node
    _without_agent(env, node, "socklb cleanup")
    agents.restart_with(env, node, "max_frontends = 2")
    _ask(env, all_ways(env.on))


def status(node: str) -> Command:
    return at(node, "socklb", "status", lines=30)


def until_status_says(node: str, text: str) -> Command:
    return at(node, "sh", "-c", f'until socklb status | grep "{text}"; do sleep 0.5; done', seconds=20)


def start(on: Scenario, node: str, then: str) -> Commands:
    yield agents.start(on, node)
    yield until_status_says(node, then)


def all_ways(on: Scenario) -> Command:
    """Ask for all four frontends of the Service."""
    ends = [end for family in (V4, V6) for end in (on.cluster_ip(family=family), on.node_port(family=family))]
    return at(on.client, *CURL, *(f"http://{end}/" for end in ends))


def foreign(on: Scenario, verb: str) -> Command:
    return at(on.client_node, "python3", "-", verb, CGROUP, stdin=FOREIGN)


def from_outside(on: Scenario) -> Command:
    return on.curl(on.node_port(), place=on.outside or "")


def _without_agent(env: Env, node: str, script: str) -> None:
    """Begin with everything whole, and break a node whose agent is not there to mend it."""
    whole_again(env)
    env.ask(agents.kill(env.on, node))
    env.ask(at(node, "sh", "-c", f"while socklb status >/dev/null; do sleep 0.1; done; {script}"))


def _ask(env: Env, question: Command) -> None:
    done = env.run(question)
    env.record(Broken(done.out.strip(), done.exit))
