"""What a machine needs to join a cluster."""

import re
from typing import NamedTuple

from pyinfra.api.facts import FactBase

TTL = "15m"


class Ticket(NamedTuple):
    """A token that is valid for a few minutes, and the digest of the API server's certificate authority."""

    endpoint: str
    token: str
    authority: str


class FreshTicket(FactBase[Ticket | None]):
    """A new ticket each time: it is made on the control plane, only when a worker is about to join."""

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return f"kubeadm token create --ttl {TTL} --print-join-command 2>/dev/null"

    def process(self, output: list[str]) -> Ticket | None:
        said = re.search(r"join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)", " ".join(output))
        return Ticket(*said.groups()) if said else None


class CertificateKey(FactBase[str | None]):
    """The key of the cluster's certificates, which this uploads anew, encrypted, for two hours."""

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return "kubeadm init phase upload-certs --upload-certs 2>/dev/null | tail -n 1"

    def process(self, output: list[str]) -> str | None:
        return output[0] if output and re.fullmatch(r"[0-9a-f]{64}", output[0]) else None
