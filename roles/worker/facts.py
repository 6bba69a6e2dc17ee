"""What a machine joins a cluster with."""

import re
from typing import NamedTuple

from pyinfra.api.facts import FactBase

TTL = "15m"


class Ticket(NamedTuple):
    """A token of a few minutes, and the digest of the authority that the API server is known by."""

    endpoint: str
    token: str
    authority: str


class FreshTicket(FactBase[Ticket | None]):
    """A new one each time: it is asked on the control plane, when a worker is about to join and not before."""

    @staticmethod
    def default() -> None:
        return None

    def command(self) -> str:
        return f"kubeadm token create --ttl {TTL} --print-join-command 2>/dev/null"

    def process(self, output: list[str]) -> Ticket | None:
        said = re.search(r"join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)", " ".join(output))
        return Ticket(*said.groups()) if said else None
