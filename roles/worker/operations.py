"""kubeadm join: once, with a token made for it, and begun again after an interrupted attempt."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.control_plane.facts import ApiAnswers, Stage
from roles.control_plane.operations import LOG, RESET, kubeadm
from roles.kubectl import cluster
from roles.operations import failure
from roles.templates import render
from roles.worker.facts import CertificateKey, FreshTicket

HERE = Path(__file__).parent


@operation()
def joined(values: Mapping[str, Any], as_control_plane: bool = False) -> Generator[StringCommand, None, None]:
    stage = host.get_fact(Stage)
    if stage == "done":
        host.noop("it has joined")
        return
    yield StringCommand(f"{RESET} >{LOG} 2>&1" if stage == "begun" else "true")  # no token is made before it is used
    if not cluster().get_fact(ApiAnswers):
        yield failure(
            f"{cluster().name} has no API server that answers, so nobody can join. Next: see what it said above"
        )
        return
    ticket = cluster().get_fact(FreshTicket)
    if ticket is None:
        yield failure(f"{cluster().name} made no token. Next: kubeadm token create, there")
        return
    key = cluster().get_fact(CertificateKey) if as_control_plane else None
    if as_control_plane and key is None:
        yield failure(
            f"{cluster().name} uploaded no certificates. Next: kubeadm init phase upload-certs --upload-certs, there"
        )
        return
    yield from kubeadm("join", render(HERE, "join.yaml", ticket=ticket, key=key, **values))
