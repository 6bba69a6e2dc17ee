"""How commands get to a host, one module per connector. Labs and tests need nothing of it but its `argv()`.

    local: on this machine itself
    netns: into a node of the local cluster
    docker: into a container, such as a node of kind
    ssh: to a machine, by OpenSSH's client

inventory/reach.py says which module belongs to which prefix; `inventory.place.Place` is built on top of that.

Not promised: that a host is made. inventory/connectors/ does that. No module here imports pyinfra, which costs 0.9 s.
"""

from typing import Protocol

from inventory.hosts import AnyHost


class NotSupportedError(Exception):
    """This kind of host cannot do what was asked of it."""


class Way(Protocol):
    @staticmethod
    def argv(host: AnyHost, *command: str, hooked: bool, terminal: bool) -> list[str]:
        """Return the local command line that runs `command` on the host; `terminal`: for who sits at one.

        With hooked=False it runs outside the node's cgroup, where no BPF program of the node's is asked.

        Raises:
            NotSupportedError: hosts of this kind have no outside.
        """
        ...


def no_outside(host: AnyHost, remedy: str = "") -> NotSupportedError:
    return NotSupportedError(
        f"{host.name}: no command can run outside the node's cgroup. Only nodes on this machine (@netns, @kind) "
        f"lie in a cgroup that one can be outside of. Next: {remedy}SOCKLB_INVENTORY=local"
    )
