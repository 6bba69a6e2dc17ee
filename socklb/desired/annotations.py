"""What a Service's annotations ask of socklb, and which values are unknown. Pure.

is_least_loaded(service), resets(service)
"""

from __future__ import annotations

from collections.abc import Iterator

from socklb.api.marks import BALANCE, ON_REMOVAL
from socklb.api.objects import Service
from socklb.api.source import Problem
from socklb.errors import SocklbError

LEAST_LOADED, RESET = "least-loaded", "reset"


def is_least_loaded(service: Service) -> bool:
    """Return whether a TCP connection is to go to the less loaded of two backends."""
    return service.metadata.annotations.get(BALANCE) == LEAST_LOADED


def resets(service: Service) -> bool:
    """Return whether TCP connections to a removed backend are to be reset."""
    return service.metadata.annotations.get(ON_REMOVAL) == RESET


def annotation_problems(service: Service, *, counted: bool) -> Iterator[Problem]:
    """Yield a problem for each annotation that has no effect. `counted`: whether this node can count connections."""
    yield from _unknown(service, BALANCE, LEAST_LOADED, "endpoints are taken at random")
    yield from _unknown(service, ON_REMOVAL, RESET, "connections to endpoints that are gone are left alone")
    if is_least_loaded(service) and not counted:
        yield _problem(service, BALANCE, "connections are counted from Linux 5.12 on, so endpoints are taken at random")


def _unknown(service: Service, name: str, valid: str, instead: str) -> Iterator[Problem]:
    value = service.metadata.annotations.get(name)
    if value not in (None, valid):
        yield _problem(service, name, str(SocklbError(f"not known, so {instead}", value=value, valid=valid)))


def _problem(service: Service, name: str, text: str) -> Problem:
    return Problem("", 0, f"metadata.annotations[{name}]", text, f"Service/{service.key}")
