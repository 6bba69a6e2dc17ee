"""How to run a command on a host of the inventory, whatever its connector: for labs and tests.

subprocess.run(argv(host, "ip", "route"))
"""

import shlex

from inventory.connectors.container import enter_argv
from inventory.hosts import AnyHost


class NotSupportedError(Exception):
    """This kind of host cannot do what was asked of it."""


def argv(host: AnyHost, *command: str, hooked: bool = True, terminal: bool = False) -> list[str]:
    """The local command line that runs `command` on the host; `terminal`: for who sits at one.

    With hooked=False it runs outside the node's cgroup, where no BPF program of the node's is asked.
    """
    kind, _, name = host.name.partition("/")
    if not hooked and kind in ("@docker", "@kind"):
        from inventory.connectors.outside import outside_argv  # noqa: PLC0415 - it costs, and few ask for it

        return [*outside_argv(name), *command]
    if not hooked and kind != "@netns":
        raise NotSupportedError(
            f"{host.name}: no command can run outside the node's cgroup. Only nodes on this machine (@netns, @kind) "
            "lie in a cgroup that one can be outside of. Next: SOCKLB_INVENTORY=local"
        )
    match kind:
        case "@netns":
            return [*enter_argv(name, hooked), *command]
        case "@docker" | "@kind":
            return ["docker", "exec", "--interactive", *(["--tty"] if terminal else []), name, *command]
        case "@local":
            return list(command)
        case _:
            return [*_ssh(host, name or kind, terminal=terminal), shlex.join(command)]


def _ssh(host: AnyHost, name: str, *, terminal: bool) -> list[str]:
    """By the data that pyinfra's own @ssh connector reads; a user's ~/.ssh/config counts too."""
    flags = {"ssh_config_file": "-F", "ssh_port": "-p", "ssh_key": "-i", "ssh_user": "-l"}
    options = [word for key, flag in flags.items() if (value := host.data.get(key)) for word in (flag, str(value))]
    return ["ssh", *(["-t"] if terminal else []), *options, host.data.get("ssh_hostname") or name, "--"]
