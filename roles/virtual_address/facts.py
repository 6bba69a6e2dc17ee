"""Where on a machine the virtual address belongs."""

import shlex

from pyinfra.api.facts import FactBase


class Interface(FactBase[str]):
    """The interface that has this address."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, address: str) -> str:
        return f"ip -oneline address show to {shlex.quote(address)} | awk '{{ print $2; exit }}'"

    def process(self, output: list[str]) -> str:
        return output[0]
