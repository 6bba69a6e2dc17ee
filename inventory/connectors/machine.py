"""The pyinfra connector `@machine/<name>`: pyinfra's own SSH connector, with failures that affect one machine only.

It adds what a cluster of several machines needs: an error names the remedy; a machine that dies during an upload fails
alone, while pyinfra 3.10 ends the whole run with a traceback (EOFError); one that is switched off is given up after a
minute of silence. A host is in a group of its own name, so that `--limit w1` works.
"""

import socket
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from typing_extensions import override

from inventory.machines import PREFIX

SILENCE = 60  # seconds
# pyinfra gives sudo its password by a program that it writes there.
RUN_ONE = """\
file=$(mktemp "${TMPDIR:-/tmp}/pyinfra-XXXXXX") && echo '#!/bin/sh' >"$file" && chmod 700 "$file" && "$file"
status=$?; rm -f "$file"; exit $status"""
AGAIN = "the same command again; the other machines have gone on"
# Error messages of SSH, and the remedies; {user}, {address} and so on are the machine's.
REMEDIES = {
    "Authentication": "ssh-copy-id -i {key}.pub {user}@{address}, or another ssh_user or ssh_key in the inventory",
    "does not match": "if {name} was installed anew: ssh-keygen -R {spelled} -f {known}, then ssh-keyscan -p {port} "
    "{address} >>{known}. If it was not, somebody may be in between",
    "No host key": "ssh-keyscan -p {port} {address} >>{known}, and compare it with the machine's own "
    "/etc/ssh/ssh_host_*_key.pub",
    "resolve": "the machine's address in the inventory, or as ssh_hostname",
}
Result = TypeVar("Result")


class MachineConnector(SSHConnector):
    """A machine of inventory/bare_metal.py."""

    @override
    @staticmethod
    def make_names_data(name: str) -> Generator[tuple[str, dict[str, Any], list[str]], None, None]:
        yield PREFIX + name, {}, [name]

    @override
    def connect(self) -> None:
        try:
            super().connect()
        except ConnectError as error:
            raise ConnectError(f"{error}. Next: {self.remedy(str(error))}") from None
        self._notice_silence()
        if self.host.data.get("_sudo"):
            self._become_root(self.host.data.get("_sudo_password"))

    def _become_root(self, password: str | None) -> None:
        """Try sudo once: pyinfra would ask for a password on a terminal, which a deploy may not have."""
        assert self.client
        given, said, errors = self.client.exec_command("sudo -S -k -p '' true" if password else "sudo -n true")
        if password:
            given.write(f"{password}\n")
        given.channel.shutdown_write()
        if said.channel.recv_exit_status():
            reason = " ".join(errors.read().decode(errors="replace").split()).removeprefix("sudo: ")
            user = self.data["ssh_user"] or "root"
            raise ConnectError(
                f"sudo refuses: {reason}. Next: the line `{user} ALL=(ALL) NOPASSWD: ALL` in a file of /etc/sudoers.d "
                "there, or sudo_password in the inventory"
            )
        if password and self.client.exec_command(RUN_ONE)[1].channel.recv_exit_status():
            raise ConnectError(
                "no program can run in /tmp, as pyinfra's must that gives sudo its password. Next: mount -o "
                "remount,exec /tmp there, or the line with NOPASSWD in a file of /etc/sudoers.d"
            )

    def remedy(self, said: str) -> str:
        data = self.data
        address, port = data["ssh_hostname"] or self.host.name, int(data["ssh_port"] or 22)
        values = {
            "name": self.host.name.removeprefix(PREFIX),
            "address": address,
            "port": port,
            "spelled": address if port == 22 else f"'[{address}]:{port}'",
            "user": data["ssh_user"] or "root",
            "key": data["ssh_key"] or "~/.ssh/id_ed25519",
            "known": data["ssh_known_hosts_file"] or "~/.ssh/known_hosts",
        }
        found = next((remedy for words, remedy in REMEDIES.items() if words in said), None)
        return found.format(**values) if found else f"start it, and its sshd, then {AGAIN}"

    def _notice_silence(self) -> None:
        """Make the kernel end the connection of a machine that was switched off: it sends nothing, not even a reset."""
        transport = self.client.get_transport() if self.client else None
        if transport:
            transport.set_keepalive(SILENCE // 4)
            if isinstance(transport.sock, socket.socket):  # through a bastion host it is a channel
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE * 1000)

    @override
    def run_shell_command(self, *words: Any, **arguments: Any) -> Any:
        return self._as_its_own(lambda: super(MachineConnector, self).run_shell_command(*words, **arguments))

    @override
    def put_file(self, *words: Any, **arguments: Any) -> bool:
        return self._as_its_own(lambda: super(MachineConnector, self).put_file(*words, **arguments))

    @override
    def get_file(self, *words: Any, **arguments: Any) -> bool:
        return self._as_its_own(lambda: super(MachineConnector, self).get_file(*words, **arguments))

    def _as_its_own(self, do: Callable[[], Result]) -> Result:
        """Run something; any error becomes an OSError, which pyinfra takes for the failure of one host."""
        try:
            return do()
        except EOFError as error:
            raise OSError(f"the connection broke ({error or 'end of file'}). Next: start it, then {AGAIN}") from error
