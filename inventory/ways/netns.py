"""Into a node of the local cluster: by its cgroup and its namespaces."""

from inventory.connectors.netns_node import enter_argv
from inventory.hosts import AnyHost, short_name


def argv(host: AnyHost, *command: str, hooked: bool, terminal: bool) -> list[str]:  # noqa: ARG001 - has the caller's
    return [*enter_argv(short_name(host), hooked), *command]
