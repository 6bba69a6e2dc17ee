"""What of Kubernetes a machine has, and what it can get by HTTPS."""

import shlex

from pyinfra.api.facts import FactBase

SECONDS = 20
NEITHER = "neither curl nor wget is installed"


class Unreachable(FactBase[str]):
    """Why a machine cannot get what is at an address; empty: it can."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, address: str) -> str:
        where = shlex.quote(address)
        curl = f"curl -fsSL --max-time {SECONDS} --output /dev/null {where}"
        wget = f"wget --no-verbose --timeout {SECONDS} --tries 1 --output-document /dev/null {where}"
        there = "command -v {} >/dev/null"
        neither = f"{{ echo {NEITHER}; false; }}"
        chosen = f"if {there.format('curl')}; then {curl}; elif {there.format('wget')}; then {wget}; else {neither}; fi"
        return f"{{ {chosen}; }} 2>&1 && echo there || true"

    def process(self, output: list[str]) -> str:
        *said, last = output or ["no answer"]
        return "" if last == "there" else " ".join([*said, last])


class FromFolder(FactBase[bool]):
    """Whether the kubelet of a machine came from a folder, and not from a package."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return "[ ! -e /usr/local/bin/kubelet ] || echo yes"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]
