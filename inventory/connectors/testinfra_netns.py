"""A testinfra backend for `netns://<node>`. testinfra has no way to add one; importing this puts it into its table."""

import subprocess
from typing import Any

from testinfra.backend import BACKENDS
from testinfra.backend.base import BaseBackend, CommandResult

from inventory.connectors.container import enter_argv


class NetnsBackend(BaseBackend):
    NAME = "netns"

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        shell = self.get_command(command, *args)
        done = subprocess.run([*enter_argv(self.hostname), "/bin/sh", "-c", shell], capture_output=True, check=False)
        return self.result(done.returncode, self.encode(shell), done.stdout, done.stderr)


BACKENDS[NetnsBackend.NAME] = f"{__name__}.{NetnsBackend.__name__}"
