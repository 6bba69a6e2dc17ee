"""Pods of a node, all in one operation."""

import shlex
from collections.abc import Collection, Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.pods.facts import Pods


@operation()
def pods_present(names: Collection[str]) -> Generator[StringCommand, None, None]:
    """Make sure of these pods; others, that somebody made for an experiment, stay."""
    missing = [name for name in names if name not in host.get_fact(Pods)]
    if missing:
        yield StringCommand("pod add", shlex.join(missing))
    else:
        host.noop(f"pods are there: {', '.join(names)}")
