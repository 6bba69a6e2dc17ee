"""The network settings of a node."""

import json
import shlex
from typing import Any

from pyinfra.api.facts import FactBase


class Names(FactBase[list[str]]):
    """The lines of /etc/hosts that are ours, without their mark."""

    mark = " # socklb"

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self) -> str:
        return f"grep '{self.mark}$' /etc/hosts || true"

    def process(self, output: list[str]) -> list[str]:
        return [line.removesuffix(self.mark) for line in output]


class Sysctls(FactBase[dict[str, str]]):
    """Values of these sysctls; those that the kernel does not have are left out."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def command(self, keys: list[str]) -> str:
        return f"sysctl -e {shlex.join(keys)}"

    def process(self, output: list[str]) -> dict[str, str]:
        return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in output)}


class DefaultRoutes(FactBase[list[str]]):
    """The address families, as options of `ip`, that have a default route."""

    @staticmethod
    def default() -> list[str]:
        return []

    def requires_command(self) -> str:
        return "ip"

    def command(self) -> str:
        return 'for family in -4 -6; do ip $family route show default | sed -n "1s/.*/$family/p"; done'

    def process(self, output: list[str]) -> list[str]:
        return output


class Routes(FactBase[dict[str, str]]):
    """Routes through a gateway, from destination to gateway, IPv4 and IPv6."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def requires_command(self) -> str:
        return "ip"

    def command(self) -> str:
        return "ip -json -4 route && ip -json -6 route"

    def process(self, output: list[str]) -> dict[str, str]:
        routes: list[dict[str, Any]] = [route for line in output if line for route in json.loads(line)]
        return {route["dst"]: route["gateway"] for route in routes if "gateway" in route}
