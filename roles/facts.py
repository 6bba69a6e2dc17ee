"""Facts that several roles use."""

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
    """SHA-256 of those of these files that exist, by path."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def command(self, paths: list[str]) -> str:
        return f"sha256sum -- {shlex.join(paths)} 2>/dev/null || true"

    def process(self, output: list[str]) -> dict[str, str]:
        return {path: digest for digest, path in (line.split(maxsplit=1) for line in output)}


class Text(FactBase[str]):
    """The text of a file, empty if it does not exist."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, path: str) -> str:
        return f"cat {shlex.quote(path)} 2>/dev/null || true"


class Newer(FactBase[bool]):
    """Whether a file exists and is newer than another one, or the other does not exist."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, path: str, than: str) -> str:
        one, other = shlex.quote(path), shlex.quote(than)
        # To the shell of Debian 12 nothing is newer than a missing file.
        newer = f"[ -e {one} ] && {{ [ ! -e {other} ] || [ {one} -nt {other} ]; }}"
        return f"{newer} && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


class DpkgIsCutOff(FactBase[bool]):
    """Whether an installation was interrupted: apt refuses to do anything until it is completed."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return "{ dpkg --audit; ls /var/lib/dpkg/updates; } | head -n 1"

    def process(self, output: list[str]) -> bool:
        return bool(output)


class Pythons(FactBase[list[str]]):
    """Which of these interpreters start, each a program and its required version: `python3.13 3.13`."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, interpreters: list[str]) -> str:
        asks = '"$p" -S -E -c \'import sys; print("%d.%d" % sys.version_info[:2])\' 2>/dev/null'
        tries = f'while read -r p version; do [ "$({asks})" != "$version" ] || echo "$p $version"; done'
        return f"printf '%s\\n' {shlex.join(interpreters)} | {tries}; true"

    def process(self, output: list[str]) -> list[str]:
        return output


class Suite(FactBase[str]):
    """The distribution's code name, such as bookworm."""

    def command(self) -> str:
        return ". /etc/os-release && echo $VERSION_CODENAME"

    def process(self, output: list[str]) -> str:
        return output[0]


class Init(FactBase[str]):
    """The name of PID 1: `systemd`, or `tini` in a node of the local cluster."""

    def command(self) -> str:
        return "cat /proc/1/comm"

    def process(self, output: list[str]) -> str:
        return output[0].strip()
