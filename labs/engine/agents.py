"""Whether each node's agent runs, serves what it read, and has its hooks in effect: a fact for every lab.

    lab.step(..., observe=look_at_agents)         records Agents
    yield from seen[Agents].serve()               in a check: a claim for each node

A lab may also end agents and start others (kill, stop, start, synced); serve_again() in its reset() makes each node's
own agent run again. How that is done depends on the node: systemd manages the agent, or nothing does.
"""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from labs.engine.claims import Claim, true
from labs.engine.env import Env
from labs.engine.places import Command, Output, at
from labs.engine.scenario import Scenario

PROGRAM, PIDFILE, LOG = "/usr/local/bin/socklb", "/run/socklb/agent.pid", "/var/log/socklb.log"
UNIT, OTHER_UNIT = "socklb-agent", "socklb-agent-of-lab"  # units of systemd: the deployed agent, or another one
NEXT = "/opt/socklb-next"
NEXT_PROGRAM = f"{NEXT}/bin/socklb"
CONFIG, OTHER_CONFIG = "/etc/socklb/socklb.toml", "/tmp/lab-socklb.toml"
_MAKE_NEXT = f"""
rm -rf {NEXT} && mkdir -p {NEXT}/lib && cp -a /opt/socklb/bin {NEXT} && ln -s /opt/socklb/lib/* {NEXT}/lib
rm {NEXT}/lib/socklb && cp -a /opt/socklb/lib/socklb {NEXT}/lib && rm -rf {NEXT}/lib/socklb/__pycache__
sed -i 's/^__version__ = .*/__version__ = "next"/' {NEXT}/lib/socklb/__init__.py
"""
HOOKS = ("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeername4", "getpeername6")


@dataclass(frozen=True)
class Agents:
    running: dict[str, str]  # by node: the state of its agent
    lacking: dict[str, list[str]]  # by node: what is missing for full service
    programs: dict[str, list[int]] = field(
        default_factory=dict[str, list[int]]
    )  # by node: the ids of its hooks' programs

    def serve(self) -> Iterator[Claim]:
        for node, lacking in self.lacking.items():
            told = f"lacking: {', '.join(lacking)}" if lacking else self.running[node]
            yield true(f"{node}: the agent has every Service in the kernel, every hook is in effect", not lacking, told)

    def took_over(self, node: str, earlier: "Agents") -> Iterator[Claim]:
        """Yield claims that it serves everything, and that the hooks, which stayed attached, run other programs than
        before.
        """
        old, new = earlier.programs[node], self.programs[node]
        lacking = ", ".join(self.lacking[node])
        yield true(f"{node}: the new agent serves everything", not lacking, lacking or self.running[node])
        told = f"{min(old)} to {max(old)}, now {min(new)} to {max(new)}" if old and new else "no programs"
        yield true(f"{node}: it put its own programs into the hooks", bool(new) and not {*old} & {*new}, told)


@dataclass(frozen=True)
class EarlierAgents(Agents):
    """The same before the reader acted."""


def look_at_agents(env: Env) -> None:
    """Record Agents: for observe()."""
    env.record(Agents(*_look(env)))


def look_at_earlier_agents(env: Env) -> None:
    """Record EarlierAgents: for before()."""
    env.record(EarlierAgents(*_look(env)))


def _look(env: Env) -> tuple[dict[str, str], dict[str, list[str]], dict[str, list[int]]]:
    said = {node: _status(env.ask(at(node, "socklb", "status", "--json"))) for node in env.on.nodes}
    running = {node: _told(status) for node, status in said.items()}
    lacking = {node: _lacking(status) for node, status in said.items()}
    programs = {
        node: [hook["program_id"] for hook in status.get("hooks", []) if hook["program_id"]]
        for node, status in said.items()
    }
    return running, lacking, programs


def kill(on: Scenario, node: str) -> Command:
    """End the agent as the kernel's OOM killer does: it cannot do anything more. It is gone when this ends."""
    if _by_systemd(on, node):  # which would start it again otherwise
        return at(node, "sh", "-c", f"systemctl kill --signal=KILL {UNIT}; systemctl stop {UNIT}")
    return at(node, "start-stop-daemon", "--stop", "--pidfile", PIDFILE, "--retry", "KILL/5")


def stop(on: Scenario, node: str) -> Command:
    if _by_systemd(on, node):
        return at(node, "systemctl", "stop", f"{UNIT}*")
    return at(node, "start-stop-daemon", "--stop", "--pidfile", PIDFILE, "--retry", "5")


def start(on: Scenario, node: str, program: str = PROGRAM, *options: str) -> Command:
    if _by_systemd(on, node):
        other = ("systemd-run", "--quiet", "--collect", f"--unit={OTHER_UNIT}", program, *options, "agent")
        return at(node, *(("systemctl", "start", UNIT) if (program, options) == (PROGRAM, ()) else other))
    daemon = ("start-stop-daemon", "--start", "--background", "--make-pidfile", "--pidfile", PIDFILE)
    return at(node, *daemon, "--output", LOG, "--startas", program, "--", *options, "agent")


def _by_systemd(on: Scenario, node: str) -> bool:
    return on.cluster.nodes[node].systemd


def synced(node: str) -> Command:
    """Wait until it serves what it read, and show the status then."""
    return at(node, "socklb", "status", "--wait", "20", seconds=30)


def restarted(on: Scenario, node: str, program: str = PROGRAM, *options: str) -> Generator[Command, Output, None]:
    """Replace the running agent with another one, and wait until it serves."""
    yield stop(on, node)
    yield start(on, node, program, *options)
    yield synced(node)


def restart_with(env: Env, node: str, line: str) -> None:
    """Run the agent of a node with one line of its configuration changed or added, until serve_again()."""
    key = line.split(maxsplit=1)[0]
    script = f"{{ echo '{line}'; grep -v '^{key} ' {CONFIG}; }} >{OTHER_CONFIG}"
    env.ask(at(node, "sh", "-c", script))
    for command in restarted(env.on, node, PROGRAM, "--config", OTHER_CONFIG):
        env.ask(command)


def make_next_version(env: Env) -> None:
    """Make a copy of the deployed agent on every node that reports the next version."""
    for node in env.on.nodes:
        env.ask(at(node, "sh", "-ec", _MAKE_NEXT))


def serve_again(env: Env) -> None:
    """Run the deployed agent on every node, in place of another one or of none, and wait until all serve."""
    stopped = [node for node in env.on.nodes if env.ask(at(node, "sh", "-c", _is_deployed(env.on, node))).exit]
    for node in stopped:
        env.ask(stop(env.on, node))
        env.ask(start(env.on, node))
    for node in env.on.nodes:  # also if a step has started the deployed agent again itself
        env.ask(at(node, "rm", "-rf", NEXT, OTHER_CONFIG))
    env.until("every node serves whole", lambda: not any(_look(env)[1].values()))


def _is_deployed(on: Scenario, node: str) -> str:
    """Return a command that succeeds if the deployed agent runs there as deployed."""
    if _by_systemd(on, node):
        return f"systemctl is-active --quiet {UNIT}"
    return f"tr '\\0' ' ' </proc/$(cat {PIDFILE})/cmdline | grep -q ' /opt/socklb/lib/bin/socklb agent $'"


def _status(done: Output) -> dict[str, Any]:
    """Return the document; if there is none, the output instead."""
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
