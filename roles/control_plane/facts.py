"""How far kubeadm has got on a machine."""

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

    def command(self) -> str:
        return f"{KUBECTL} get --raw /readyz >/dev/null 2>&1 && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


class Release(FactBase[str]):
    """The version of kubeadm, such as v1.34.4."""

    def command(self) -> str:
        return "kubeadm version --output short"

    def process(self, output: list[str]) -> str:
        return output[0]
