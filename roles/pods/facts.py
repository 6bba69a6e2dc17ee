"""The pods of a node."""

import json
from typing import TypedDict

from pyinfra.api.facts import FactBase


class Pod(TypedDict):
    name: str
    addresses: list[str]
    processes: list[int]


class Pods(FactBase[dict[str, Pod]]):
    """The pods that are there, by name."""

    @staticmethod
    def default() -> dict[str, Pod]:
        return {}

    def requires_command(self) -> str:
        return "pod"

    def command(self) -> str:
        return "pod list --json"

    def process(self, output: list[str]) -> dict[str, Pod]:
        pods: list[Pod] = json.loads("".join(output))
        return {pod["name"]: pod for pod in pods}
