"""What an interrupted upgrade has left."""

from pyinfra.api.facts import FactBase


class KubeadmHasEnded(FactBase[bool]):
    """Whether no kubeadm runs on this machine, after a wait for one: to end it half way would be worse."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, patience: int) -> str:
        wait = "while pgrep -x kubeadm >/dev/null; do sleep 1; done"
        return f"timeout {patience} sh -c {wait!r} && echo yes || true"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]
