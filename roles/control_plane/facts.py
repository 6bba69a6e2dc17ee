"""How far kubeadm has got on a machine."""

import json

from pyinfra.api.facts import FactBase

from roles.kubectl import KUBECTL
from roles.machine.paths import STATE

BEGUN = f"{STATE}/kubeadm-begun"  # exists while kubeadm runs: found later, it means an interrupted attempt
KUBELET = "/etc/kubernetes/kubelet.conf"


class Stage(FactBase[str]):
    """`none`, `begun` (an attempt that was interrupted or failed) or `done`."""

    @staticmethod
    def default() -> str:
        return "none"

    def command(self) -> str:
        return f"if [ -e {BEGUN} ]; then echo begun; elif [ -e {KUBELET} ]; then echo done; else echo none; fi"

    def process(self, output: list[str]) -> str:
        return output[0]


class ApiAnswers(FactBase[bool]):
    """Whether the API server on this machine is ready."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, patience: int = 1) -> str:
        """Ask it once a second, at most so many times."""
        ask = f"{KUBECTL} get --raw /readyz >/dev/null 2>&1"
        return f"for i in $(seq {patience}); do [ $i = 1 ] || sleep 1; {ask} && echo yes && break; done; true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


class ApiVersion(FactBase[str]):
    """The version of the API server, such as v1.34.4."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        return f"{KUBECTL} get --raw /version"

    def process(self, output: list[str]) -> str:
        return str(json.loads("".join(output))["gitVersion"])


class Release(FactBase[str]):
    """The version of kubeadm, such as v1.34.4."""

    def command(self) -> str:
        return "kubeadm version --output short"

    def process(self, output: list[str]) -> str:
        return output[0]
