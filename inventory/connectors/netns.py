"""The pyinfra connector `@netns/<node>`: a node of the local cluster, made from nothing when first used.

connect() makes nothing: pyinfra connects to every host before the first operation, and deploys/teardown.py must not
make the nodes that it removes. The first command does: `pyinfra @netns/w1 exec -- ip route` works on a bare machine.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector, DataMeta
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.util import CommandOutput, extract_control_arguments, make_unix_command_for_host
from typing_extensions import TypedDict, override

from inventory.connectors import container
from inventory.connectors.container import enter_argv
from inventory.connectors.host import NodeError

__all__ = ["NetnsConnector", "enter_argv", "node_name"]

PREFIX = "@netns/"
TOOLS = ("ip", "nsenter", "unshare", "mount", "pivot_root", "tini")


def node_name(host_name: str) -> str:
    """`@netns/w1` -> `w1`."""
    return host_name.removeprefix(PREFIX)


class NetnsData(TypedDict):
    addresses: list[str]


class NetnsConnector(BaseConnector):
    """Commands enter the node's cgroup and namespaces; files go in through a command that reads them."""

    handles_execution = True
    data_cls = NetnsData
    data_meta = {"addresses": DataMeta("addresses of the node's eth0, with prefix length", [])}  # noqa: RUF012

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.local = LocalConnector(state, host)
        self.node = node_name(host.name)

    @override
    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        if not container.NAME.fullmatch(name):
            raise InventoryError(f"{PREFIX}{name}: not the name of a node. Valid: {container.NAME.pattern}")
        yield PREFIX + name, {}, []

    @override
    def connect(self) -> None:
        if os.geteuid() != 0:
            raise ConnectError(f"{self.host.name}: network namespaces need root. Next: run the same command as root")
        missing = [tool for tool in TOOLS if not shutil.which(tool)]
        if missing:
            raise ConnectError(f"{self.host.name}: {', '.join(missing)} not found. Next: make setup")

    def _entered(self, command: StringCommand, arguments: Any) -> list[str]:
        container.ensure(self.node, self.data["addresses"])
        unix_command = make_unix_command_for_host(self.state, self.host, command, **arguments)
        return [*enter_argv(self.node), "sh", "-c", unix_command.get_raw_value()]

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
