"""Facts about the ordinary setup on a node."""

from base64 import b64encode
from collections.abc import Mapping
from shlex import quote

from pyinfra.api.facts import FactBase

HOME = "/etc/baseline"
OPT = "/opt/baseline"  # programs, on nodes that do not see this machine's
RUN = "/run/baseline"
AUTHORITY = f"{RUN}/certificates/apiserver.crt"  # the API server signs its own certificate
APPLIED = f"{RUN}/applied"  # digests of the files whose objects the API server has


class There(FactBase[bool]):
    """Whether any part of it is there."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self) -> str:
        return f"[ ! -e {HOME} ] && [ ! -e {RUN} ] || echo yes"

    def process(self, output: list[str]) -> bool:
        return output == ["yes"]


class Holding(FactBase[list[str]]):
    """Those of these conditions (name to shell command) that hold."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, conditions: Mapping[str, str]) -> str:
        return (
            "; ".join(f"{{ {held}; }} >/dev/null 2>&1 && echo {quote(name)}" for name, held in conditions.items())
            + "; true"
        )

    def process(self, output: list[str]) -> list[str]:
        return output


class Authority(FactBase[str]):
    """The API server's certificate, in the format of a kubeconfig."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        return f"cat {AUTHORITY} 2>/dev/null || true"

    def process(self, output: list[str]) -> str:
        return b64encode("".join(f"{line}\n" for line in output).encode()).decode()


class KubeadmVersion(FactBase[str]):
    """The version of kubeadm, such as v1.34.4."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self) -> str:
        return "kubeadm version --output short"

    def process(self, output: list[str]) -> str:
        return output[0]


class Certified(FactBase[str]):
    """A kubeconfig with a client certificate for this user, a new one each time; empty without the configuration."""

    @staticmethod
    def default() -> str:
        return ""

    def command(self, user: str, config: str) -> str:
        return f"[ ! -e {config} ] || kubeadm kubeconfig user --client-name {quote(user)} --config {config}"

    def process(self, output: list[str]) -> str:
        return "".join(f"{line}\n" for line in output)
