"""The desired state of one frontend: which Service holds it, which backends should serve it, and if none, why.

    desired = of(state, plan, frontend)          # in the agent; pure
    desired = ask(socket, frontend)              # in a command; None: no agent answers

`of` makes the answer that the agent sends on its socket, `ask` reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from socklb import control_socket
from socklb.api.objects import Endpoint, EndpointSlice, Service, ServicePort
from socklb.desired.cataloguer import type_of
from socklb.desired.endpoints import Offer, candidates
from socklb.desired.plan import Plan
from socklb.desired.service_addresses import family_of
from socklb.desired.service_plan import PROTOCOLS
from socklb.desired.store import ObjectStore
from socklb.desired.unserved import unoffered
from socklb.errors import SocklbError
from socklb.model import ANY4, ANY6, Frontend, endpoint_text, frontend_text, pack_address

NAMED = 5  # nodes


class Desired(Struct):
    """The desired state of one frontend.

    service, type: the Service that holds the frontend; empty: no Service does. backends, outside: the backends for
    clients inside the cluster, and for clients outside where those differ. sources: the only networks that clients may
    come from. why, why_outside: why there is no backend for clients inside and outside. sole: the Services that have
    the address as a ClusterIP.
    """

    frontend: str
    service: str = ""
    type: str = ""
    backends: list[str] = []  # msgspec copies an empty default
    outside: list[str] | None = None
    affinity: int = 0
    least_loaded: bool = False
    sources: list[str] | None = None
    why: str = ""
    why_outside: str = ""
    sole: list[str] = []
    synced: bool = True


def of(state: ObjectStore, plan: Plan, frontend: Frontend) -> Desired:
    """Return the desired state of a frontend."""
    sole = [key for key, planned in plan.services.items() if frontend.address in planned.addresses]
    found = Desired(frontend_text(frontend), sole=sole)
    key = plan.holder(frontend)
    service = state.services.get(key) if key else None
    if key is None or service is None:
        return found
    serving = plan.services[key].frontends[frontend]
    found.service, found.type = key, type_of(service, frontend)
    found.backends = [endpoint_text(backend) for backend in serving.backends]
    found.affinity, found.least_loaded = serving.affinity, serving.least_loaded
    if serving.sources is not None:
        found.sources = list(serving.sources)
    if serving.outside is not None:
        found.outside = [endpoint_text(backend) for backend in serving.outside]
    slices, here = state.slices(key), plan.here.node
    if not serving.backends:
        inside = found.type == "ClusterIP" and service.spec.internalTrafficPolicy == "Local"
        found.why = why_nobody(service, frontend, slices, here, "internalTrafficPolicy" if inside else "")
    if not (serving.outside or serving.outside is None):
        found.why_outside = why_nobody(service, frontend, slices, here, "externalTrafficPolicy")
    return found


def ask(socket: Path, frontend: Frontend) -> Desired | None:
    """Ask the running agent; None if no agent answers.

    Raises:
        SocklbError: the agent's version does not know the question.
    """
    try:
        answer = control_socket.ask_raw(socket, f"desired {frontend_text(frontend)}")
    except control_socket.SilentAgentError:
        return None
    if not answer:
        return None
    try:
        return msgspec.json.decode(answer, type=Desired)
    except msgspec.MsgspecError as error:
        hint = "restart it if it is of another version than this command"
        raise SocklbError(f"the agent gives no answer: {answer.decode(errors='replace')}", hint=hint) from error


def read_frontend(text: str) -> Frontend:
    """Read a frontend in the format of `frontend_text`.

    Raises:
        SocklbError: the text is not a frontend.
    """
    endpoint, _, protocol = text.rpartition("/")
    host, _, port = endpoint.rpartition(":")
    try:
        return Frontend(pack_address(host.strip("[]")), int(port), PROTOCOLS[protocol])
    except (ValueError, KeyError) as error:
        raise SocklbError("no frontend", value=text, valid="as in 10.96.0.10:80/TCP") from error


def why_nobody(
    service: Service, frontend: Frontend, slices: Collection[EndpointSlice], node: str, policy: str = ""
) -> str:
    """Return why a Service port has no backend. policy: the field that says Local; empty if none does."""
    index, port = _port(service, frontend)
    family = family_of(frontend.address)
    offered = candidates(port, family, slices)
    if not offered:
        told = [problem.message for problem in unoffered(service, index, family, slices)] if slices else []
        return "; ".join(told) or ("its EndpointSlices have no endpoint" if slices else "it has no EndpointSlice")
    ready = sorted({one.nodeName or "no node" for one in _endpoints(offered) if one.conditions.ready})
    if policy and ready:
        own = sum(one.nodeName == node for one in _endpoints(offered))
        here = f", and of {own} here none is ready" if own else ""
        return f"{policy} is Local, endpoints are on {_several(ready)}{here}"
    return f"of {sum(1 for _ in _endpoints(offered))} endpoints none is ready"


def _port(service: Service, frontend: Frontend) -> tuple[int, ServicePort]:
    at_nodes = frontend.address in (ANY4, ANY6)
    for index, port in enumerate(service.spec.ports):
        if (port.nodePort if at_nodes else port.port, PROTOCOLS[port.protocol]) == frontend[1:3]:
            return index, port
    raise AssertionError(f"{frontend_text(frontend)} is no port of {service.key}")


def _endpoints(offered: Iterable[Offer]) -> Iterator[Endpoint]:
    return (endpoint for _, endpoints in offered for endpoint in endpoints)


def _several(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
