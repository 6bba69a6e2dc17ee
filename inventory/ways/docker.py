"""Into a container, such as a node of kind: by docker."""

from inventory.hosts import AnyHost, container_of


def argv(host: AnyHost, *command: str, hooked: bool, terminal: bool) -> list[str]:
    name = container_of(host)
    if hooked:
        return ["docker", "exec", "--interactive", *(["--tty"] if terminal else []), name, *command]
    from inventory.connectors.outside import outside_argv  # noqa: PLC0415 - it costs, and few ask for it

    return [*outside_argv(name), *command]
