"""What lab 11 begins with, a cluster that kube-proxy alone serves, and what it looks at while that is taken over."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labs.engine import agents, load
from labs.engine.claims import Claim, absent, true
from labs.engine.conntrack import Tracked, tracked
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.evidence import Seen
from labs.engine.load import Load, LoadAt, look_at_load
from labs.engine.model import Commands
from labs.engine.packet import Endpoint
from labs.engine.places import Command, Output, at
from labs.engine.rules import grown, read_rules
from labs.engine.scenario import EMPTY, WEB, Scenario
from labs.engine.stage import deploy

from . import kube_proxy

STREAM, STREAM_LOG = (
    "stream",
    "/tmp/lab-stream.log",
)  # the Service, and where env.start() has its client's lines written
NEWER, NEWER_LOG = "newer-stream", "/tmp/lab-newer-stream.log"
PROGRAM = Path(__file__).with_name("stream.py").read_text()
CONFIG = "/etc/socklb/socklb.toml"
LEFT = "kube-proxy left rules"


@dataclass(frozen=True)
class Refused(Load):
    """What the load writes where nobody serves: the control of "no connection failed"."""


@dataclass(frozen=True)
class Counted:
    """kube-proxy's rules for the Service `web` that counted connections while the load went on: node to rules."""

    at: dict[str, list[str]]

    def some(self, on: Scenario, place: str) -> Claim:
        node = translating(on)[place]
        told = next(iter(self.at[node]), "no rule counted")
        return true(f"{node}: new connections of {place} pass kube-proxy's rules", bool(self.at[node]), told)

    def none(self, on: Scenario, place: str, *, control: "Counted") -> Claim:
        node = translating(on)[place]
        must = f"{node}: no new connection of {place} passes kube-proxy's rules"
        return absent(must, self.at[node], control=control.at[node])


@dataclass(frozen=True)
class Streams:
    """The connections that stay, by where they begin."""

    client: dict[str, Endpoint]
    last: dict[str, str]  # the last answer, or what failed
    kept: dict[str, Tracked | None]  # what connection tracking has of them, at the node that translates

    def live(self, place: str, must: str = "") -> Claim:
        last = self.last.get(place, "")
        return true(must or f"the stream of {place} goes on", "web-" in last, last or "no answer")

    def translated(self, place: str, was: "Streams") -> Claim:
        """The same connection as before, and a node changes its addresses."""
        entry = self.kept.get(place)
        same = entry is not None and entry == was.kept.get(place) and not entry.plain
        return true(f"the node goes on translating the stream of {place}", same, str(entry or "no entry"))


@dataclass(frozen=True)
class Newer(Streams):
    """The same of the client's stream that is younger than the hooks."""


def asked(on: Scenario, service: str = WEB) -> dict[str, Endpoint]:
    """Return who asks, and for what."""
    return {on.client: on.cluster_ip(service)} | ({on.outside: on.node_port(service)} if on.outside else {})


def translating(on: Scenario) -> dict[str, str]:
    """Return the node that translates what each of them asks, where packets are translated."""
    return {on.client: on.client_node} | ({on.outside: on.asked} if on.outside else {})


def kube_proxy_alone(env: Env) -> None:
    """Begin with no agent and no hook, a load and streams that kube-proxy carries."""
    all_ends(env)
    if not kube_proxy.serves(env):  # an earlier attempt has taken it over
        deploy("baseline", env.screen)
    for node in env.on.nodes:
        env.ask(agents.stop(env.on, node))
        env.ask(at(node, "sed", "-i", "s/^packet_path = .*/packet_path = false/", CONFIG))
        env.ask(at(node, "socklb", "cleanup"))
        kube_proxy.knows_the_services(env, node)
    _see_what_fails(env)
    load.start(env, asked(env.on), env.on.backends())
    for pod, end in env.on.backends(STREAM).items():
        env.start(_server(pod), at(pod, "python3", "-c", PROGRAM, "serve", pod, str(end.port)))
    for place, service in asked(env.on, STREAM).items():
        env.until(f"{place} has its stream", lambda place=place, service=service: begin(env, place, service))


def begin(env: Env, place: str, service: Endpoint, name: str = STREAM) -> bool:
    """Begin a stream, and return whether it is answered."""
    env.start(name, ask(place, service))
    return not env.ask(at(place, "sh", "-c", f"sleep 0.5; grep -q web- /tmp/lab-{name}.log")).exit


def ask(place: str, service: Endpoint) -> Command:
    return at(place, "python3", "-c", PROGRAM, "ask", service.address, str(service.port))


def _see_what_fails(env: Env) -> None:
    """Have the same program ask a Service without endpoints first."""
    client = env.on.client
    load.start(env, {client: env.on.cluster_ip(EMPTY)}, [])
    lines = env.until("a connection has failed", lambda: _lines(env, client, load.LOG))
    seen = load.load_of({client: lines})
    env.record(Refused(seen.counts, seen.last, seen.failed))
    load.stop(env)


def all_ends(env: Env) -> None:
    """End what was begun, wherever it may run."""
    load.stop(env)
    for place in asked(env.on):
        for name in STREAM, NEWER:
            env.stop(name, place)
    for pod in env.on.backends():
        env.stop(_server(pod), pod)


def goes_on(env: Env) -> None:
    """Take the load and the streams as they are: the lab is about what becomes of them."""
    for place in asked(env.on):
        if env.ask(at(place, "sh", "-c", f"tail -n 1 {STREAM_LOG} | grep web-")).exit:
            raise CannotRunError(f"the stream of {place} has ended: the steps go on from each other. Next: lab run 11")
    env.record(LoadAt([*asked(env.on)]))


def look(env: Env) -> None:
    """Record Load, Counted, Streams, Newer and Agents: for observe()."""
    look_at_rules(env)
    look_at_streams(env)
    agents.look_at_agents(env)


def look_at_rules(env: Env) -> None:
    """Record Load and Counted: which of the rules for `web` count while the load goes on."""
    nodes = {*translating(env.on).values()}
    before = {node: read_rules(env, node) for node in nodes}
    look_at_load(env)
    counted = {node: grown(before[node], read_rules(env, node)) for node in nodes}
    mark = f"default/{WEB}:"
    env.record(
        Counted({node: [f"{r.chain} {r.text}" for r in rules if mark in r.text] for node, rules in counted.items()})
    )


def look_at_streams(env: Env) -> None:
    """Record Streams and Newer, after a time in which each has been answered again, or has failed."""
    env.ask(at(env.on.client, "sleep", "0.5"))
    env.record(_streams(env, STREAM_LOG, [*asked(env.on)]))
    newer = _streams(env, NEWER_LOG, [env.on.client])
    env.record(Newer(newer.client, newer.last, newer.kept))


def begin_newer(env: Env) -> None:
    """Begin another stream of the client, which the hook gives a pod."""
    goes_on(env)
    env.stop(NEWER, env.on.client)
    service = env.on.cluster_ip(STREAM)
    env.until("the newer stream is answered", lambda: begin(env, env.on.client, service, NEWER))


def _streams(env: Env, log: str, places: list[str]) -> Streams:
    said = {place: _lines(env, place, log) for place in places}
    client = {place: _endpoint(lines[0]) for place, lines in said.items() if lines}
    kept = {place: _entry(env, place, end) for place, end in client.items()}
    return Streams(client, {place: lines[-1] if lines else "" for place, lines in said.items()}, kept)


def _entry(env: Env, place: str, stream: Endpoint) -> Tracked | None:
    """Return what is kept of a stream: of one from its port, for the load's connections may have had that port too."""
    ends = [asked(env.on, STREAM)[place], *env.on.backends(STREAM).values()]
    found = tracked(env, translating(env.on)[place], stream.address)
    return next((one for one in found if one.client == stream and one.server in ends), None)


def _lines(env: Env, place: str, log: str) -> list[str]:
    return env.ask(at(place, "cat", log)).out.splitlines()


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return Endpoint(address, int(port))


def _server(pod: str) -> str:
    return f"stream-server-{pod}"


def entries(on: Scenario) -> Commands:
    for place in translating(on):
        yield entry("-L", on, place)


def entry(verb: str, on: Scenario, place: str) -> Command:
    """List (-L) or delete (-D) what connection tracking has of the open connections of one who asks."""
    node = translating(on)[place]
    return at(node, "conntrack", verb, "-p", "tcp", "--src", on.address(place), "--state", "ESTABLISHED")


def told(status: Output) -> list[str]:
    """Return what a status tells of kube-proxy's rules; also that it did not come to an end."""
    return [line for line in status.out.splitlines() if LEFT in line] + [status.err] * bool(status.exit)


def undisturbed(seen: Seen, *, since: str) -> Iterator[Claim]:
    """Claim what holds in every step: no connect failed since that one, and the streams are the same."""
    yield none_failed(seen, since=since)
    for place in translating(seen.on):
        yield seen[Streams].live(place)
        yield seen[Streams].translated(place, seen.of(since)[Streams])


def none_failed(seen: Seen, *, since: str) -> Claim:
    return seen[Load].none_failed(control=seen.of(since)[Refused])
