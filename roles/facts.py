"""Facts that more than one role asks for."""

import shlex

from pyinfra.api.facts import FactBase


class MissingCommands(FactBase[list[str]]):
    """Which of these commands (or libraries, or CNI plugins) a host does not have."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, commands: list[str]) -> str:
        there = 'command -v $c >/dev/null || [ -x /usr/lib/cni/$c ] || ldconfig -p | grep -q "^[[:space:]]*$c "'
        return f"for c in {shlex.join(commands)}; do {there} || echo $c; done"

    def process(self, output: list[str]) -> list[str]:
        return output


class FileDigests(FactBase[dict[str, str]]):
    """SHA-256 of those of these files that exist, path to digest."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def command(self, paths: list[str]) -> str:
        return f"sha256sum -- {shlex.join(paths)} 2>/dev/null || true"

    def process(self, output: list[str]) -> dict[str, str]:
        return {path: digest for digest, path in (line.split(maxsplit=1) for line in output)}


class Init(FactBase[str]):
    """The name of PID 1: `systemd`, or `tini` in a node of the local cluster."""

    def command(self) -> str:
        return "cat /proc/1/comm"

    def process(self, output: list[str]) -> str:
        return output[0].strip()
