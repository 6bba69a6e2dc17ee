"""Whether each node's agent runs, serves what it read, and has its hooks in effect: a fact for every lab.

env.record(look_at_agents(env))               in observe()
yield from seen[Agents].serve()               in a check: a claim for each node
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labs.engine.claims import Claim, true
from labs.engine.env import Env
from labs.engine.places import Output, at

HOOKS = ("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6")


@dataclass(frozen=True)
class Agents:
    running: dict[str, str]  # node to what is told of its agent
    lacking: dict[str, list[str]]  # node to what it lacks of serving whole

    def serve(self) -> Iterator[Claim]:
        for node, lacking in self.lacking.items():
            told = f"lacking: {', '.join(lacking)}" if lacking else self.running[node]
            yield true(f"{node}: the agent has every Service in the kernel, every hook is in effect", not lacking, told)


def look_at_agents(env: Env) -> None:
    said = {node: _status(env.ask(at(node, "socklb", "status", "--json"))) for node in env.on.nodes}
    running = {node: _told(status) for node, status in said.items()}
    env.record(Agents(running, {node: _lacking(status) for node, status in said.items()}))


def _status(done: Output) -> dict[str, Any]:
    """Return the document; where there is no such thing, what was said instead."""
    try:
        return json.loads(done.out)
    except json.JSONDecodeError:
        return {"said": (done.err or done.out).strip()}


def _told(status: dict[str, Any]) -> str:
    if "agent" not in status:
        return status["said"]
    agent = status["agent"]
    return f"process {agent['pid']}, version {agent['version']}, {'' if status['synced'] else 'not '}in sync"


def _lacking(status: dict[str, Any]) -> list[str]:
    if "agent" not in status:
        return [status["said"]]
    hooks = {hook["name"]: hook["attached"] and hook["effective"] for hook in status["hooks"]}
    lacking = [f"hook {name}" for name in HOOKS if not hooks.get(name)]
    if not status["agent"]["running"]:
        lacking.append("a running agent")
    return lacking if status["synced"] else [*lacking, "what the source says: not in sync"]
