"""The same request in two ways, side by side: outside the hook's cgroup, which is the ordinary way, and through the
hook.

    yield from ask_until(on, on.node_port(), [on.third])      in an act: each until a pod of these nodes answers
    asked, hooked = connection(seen), connection(seen, hooked=True)
    same(seen, "tunnel", asked.packets[0])                    the same packet in another capture
    before=unhooked_first(lambda on: [on.curl(...)])          a control: the same outside the hook, captured

They are distinguished in the capture "pod" at the client: with the hook the connection goes to a pod from its first
packet on. A TCP packet has the same sequence number everywhere, even if its addresses are changed or it is carried in
another packet.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from labs.engine.capture import Look
from labs.engine.conversation import Conversation
from labs.engine.env import Env
from labs.engine.errors import NothingRecordedError
from labs.engine.evidence import Seen
from labs.engine.model import Commands, Part
from labs.engine.packet import Endpoint, Packet
from labs.engine.places import Command
from labs.engine.scenario import MANY, Scenario


def ask_until(on: Scenario, service: Endpoint, nodes: Collection[str]) -> Commands:
    """Send requests outside the hook and then through it, each until a pod of one of these nodes has answered."""
    for hooked in False, True:
        for _ in range(MANY):
            said = yield on.curl(service, hooked=hooked)
            if on.node_of(said.out) in nodes:
                break


def unhooked_first(
    commands: Callable[[Scenario], Iterable[Command]], at: Callable[[Scenario], Look] | None = None
) -> Part:
    """Return a before(): run these commands outside the hook, and capture each as "outside" at the client."""

    def before(env: Env) -> None:
        with env.capture(at(env.on) if at else env.on.at_pod("outside")):
            for command in commands(env.on):
                env.run(replace(command, hooked=False))

    return before


def connections(seen: Seen, *, hooked: bool = False) -> list[Conversation]:
    """Return the client's answered connections of one of the two ways."""
    pods = seen.on.backends().values()
    return [one for one in seen.capture("pod").conversations if (one.server in pods) == hooked and one.reply]


def connection(seen: Seen, *, hooked: bool = False) -> Conversation:
    """Return the last of them.

    Raises:
        NothingRecordedError: there are none.
    """
    found = connections(seen, hooked=hooked)
    if not found:
        raise NothingRecordedError(f"no request {'through' if hooked else 'outside'} the hook was answered")
    return found[-1]


def answering(seen: Seen) -> Endpoint | None:
    """Return the pod that answered outside the hook."""
    return seen.on.backends().get(seen.on.pod_called(connection(seen).reply))


def copies(seen: Seen, capture: str, packet: Packet) -> Iterator[Packet]:
    """Yield the same packet in a capture, whatever its addresses, and those that carry it."""
    for one in seen.capture(capture).packets:
        inner = one.inner or one
        if (inner.sequence, inner.note) == (packet.sequence, packet.note):
            yield one


def same(seen: Seen, capture: str, packet: Packet) -> Packet:
    """Return the first of them.

    Raises:
        NothingRecordedError: there are none.
    """
    found = next(copies(seen, capture, packet), None)
    if found is None:
        raise NothingRecordedError(f"the {packet.note} from {packet.source} is not in the capture '{capture}'")
    return found


def ends(packet: Packet | None) -> str:
    return f"{packet.source} → {packet.target}" if packet else "no packet"
