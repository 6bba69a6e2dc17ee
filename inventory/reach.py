"""How each host of the inventory is reached, by its connector: one line here and one module in inventory/ways/.

subprocess.run(argv(host, "ip", "route"))
"""

from inventory.hosts import AnyHost
from inventory.ways import NotSupportedError, Way, docker, local, netns, ssh

__all__ = ["NotSupportedError", "argv"]

WAYS: dict[str, Way] = {"@netns": netns, "@docker": docker, "@kind": docker, "@local": local}


def argv(host: AnyHost, *command: str, hooked: bool = True, terminal: bool = False) -> list[str]:
    """Return the local command line that runs `command` on the host, see `Way.argv()`. A plain name means SSH."""
    connector, _, _ = host.name.partition("/")
    return WAYS.get(connector, ssh).argv(host, *command, hooked=hooked, terminal=terminal)
