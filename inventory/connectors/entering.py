"""The common part of the connectors whose hosts are entered by a local command: nsenter, docker exec.

Files are transferred by a command that reads or writes them, so that they are where the host's own processes see them,
whatever is mounted there (`docker cp` writes below a tmpfs).
"""

import shlex
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.util import CommandOutput, extract_control_arguments, make_unix_command_for_host
from typing_extensions import override

from inventory.connectors.this_machine import NodeError
from inventory.hosts import short_name


class EnteringConnector(BaseConnector):
    """A connector that says how its host is entered, and makes the host if it does not exist."""

    handles_execution = True

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.local = LocalConnector(state, host)
        self.node = short_name(host)

    @abstractmethod
    def enter(self) -> list[str]:
        """Return the prefix for a command that makes it run on the host."""

    @abstractmethod
    def removal(self) -> Iterator[FunctionCommand]:
        """Yield the commands that remove the host, none if there is nothing. They run on this machine: entering would
        make the host.

        Raises:
            NodeError: it must not be removed.
        """

    def _entered(self, command: StringCommand, arguments: Any) -> list[str]:
        enter = self.enter()
        unix_command = make_unix_command_for_host(self.state, self.host, command, **arguments)
        return [*enter, "sh", "-c", unix_command.get_raw_value()]

    @override
    def run_shell_command(
        self, command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        control = extract_control_arguments(arguments)  # type: ignore[arg-type]
        entered = StringCommand(*(QuoteString(word) for word in self._entered(command, arguments)))
        return self.local.run_shell_command(entered, print_output=print_output, print_input=print_input, **control)

    @override
    def put_file(
        self,
        filename_or_io: Any,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        with tempfile.TemporaryFile() as spool, get_file_io(filename_or_io) as source:
            data = source.read()
            spool.write(data.encode() if isinstance(data, str) else data)
            spool.seek(0)
            self._copy(StringCommand("cat", ">", QuoteString(remote_filename)), arguments, stdin=spool)
        return True

    @override
    def get_file(
        self,
        remote_filename: str,
        filename_or_io: Any,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        with get_file_io(filename_or_io, "wb") as target:
            target.write(self._copy(StringCommand("cat", QuoteString(remote_filename)), arguments))
        return True

    def _copy(self, command: StringCommand, arguments: Any, stdin: Any = subprocess.DEVNULL) -> bytes:
        extract_control_arguments(arguments)
        argv = self._entered(command, arguments)
        done = subprocess.run(argv, stdin=stdin, capture_output=True, check=False)
        if done.returncode:
            raise NodeError(f"{self.host.name}: {shlex.join(argv)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout
