"""What of Kubernetes a machine can get by HTTPS."""

import shlex

from pyinfra.api.facts import FactBase

SECONDS = 20


class Unreachable(FactBase[str]):
    """Why a machine cannot get what is at an address; empty: it can."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, address: str) -> str:
        where = shlex.quote(address)
        curl = f"curl -fsSL --max-time {SECONDS} --output /dev/null {where}"
        wget = f"wget --no-verbose --timeout {SECONDS} --tries 1 --output-document /dev/null {where}"
        neither = "{ echo neither curl nor wget is installed; false; }"
        there = "command -v {} >/dev/null"
        chosen = f"if {there.format('curl')}; then {curl}; elif {there.format('wget')}; then {wget}; else {neither}; fi"
        return f"{{ {chosen}; }} 2>&1 && echo there || true"

    def process(self, output: list[str]) -> str:
        *said, last = output or ["no answer"]
        return "" if last == "there" else " ".join([*said, last])
