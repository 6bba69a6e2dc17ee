"""The pods of a node."""

import json
from pathlib import PurePosixPath
from typing import TypedDict

from pyinfra.api.facts import FactBase


class Pod(TypedDict):
    name: str
    addresses: list[str]
    processes: list[int]


class Pods(FactBase[dict[str, Pod]]):
    """The existing pods, by name."""

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


class OutdatedPods(FactBase[list[str]]):
    """The pods that were made with another network configuration than the present one."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self) -> str:
        return "find /run/socklb/pods -name '[!.]*.json' ! -newer /etc/socklb/cni.json 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return [PurePosixPath(path).stem for path in output]


class OtherNetworks(FactBase[list[str]]):
    """The CNI configurations of a kubelet's runtime that are not ours."""

    conflist = "10-socklb.conflist"

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self) -> str:
        return "ls /etc/cni/net.d 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return [name for name in output if name.endswith((".conf", ".conflist", ".json")) and name != self.conflist]
