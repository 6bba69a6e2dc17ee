"""On this machine itself."""

from inventory.hosts import AnyHost
from inventory.ways import no_outside


def argv(host: AnyHost, *command: str, hooked: bool, terminal: bool) -> list[str]:  # noqa: ARG001 - has the caller's
    if not hooked:
        raise no_outside(host)
    return list(command)
