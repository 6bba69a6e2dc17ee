"""testinfra over the inventory: one backend for all connectors, which runs commands like all others.

node = testinfra_host(host); node.file("/etc/hosts").exists
"""

import subprocess
from functools import cache
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host as Node

from inventory import reach
from inventory.hosts import AnyHost, short_name


class ReachingBackend(BaseBackend):
    NAME = "inventory"

    def __init__(self, host: AnyHost) -> None:
        super().__init__(short_name(host))
        self._to = host

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        shell = self.get_command(command, *args)
        done = subprocess.run(reach.argv(self._to, "/bin/sh", "-c", shell), capture_output=True, check=False)
        return self.result(done.returncode, self.encode(shell), done.stdout, done.stderr)


@cache
def testinfra_host(host: AnyHost) -> Node:
    backend = ReachingBackend(host)
    node = Node(backend)
    backend.set_host(node)
    return node


testinfra_host.__test__ = False  # type: ignore[attr-defined] - its name makes pytest take it for a test
