"""The Services of a walk on a cluster: their servers are the cluster's own pods, which have a port for each of them.

An answer is POD:NUMBER:FAMILY, so it says whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from labs.engine.cluster import Pod
from tests.chaos import services
from tests.chaos.services import ALL, Asked

FIRST_PORT = 9000
_ANSWER = re.compile(r".+:(\d+):([46])")


def answer(pod: str, asked: Asked) -> str:
    return f"{pod}:{asked.number}:{asked.family}"


def whose(got: str) -> Asked | None:
    """Return the Service of an answer; None of an error."""
    found = _ANSWER.fullmatch(got)
    return Asked(int(found[1]), found[2]) if found else None


def words(pod: Pod) -> list[str]:
    """Return what the server in this pod is started with: each name, address and port."""
    return [f"{answer(pod.name, asked)}={pod.address(int(asked.family))}={FIRST_PORT + asked.number}" for asked in ALL]


def service(number: int) -> dict[str, Any]:
    made = services.service(number)
    for port in made["spec"]["ports"]:
        port["targetPort"] = FIRST_PORT + number
    return {"apiVersion": "v1", "kind": "Service", **made}


def endpoint_slice(asked: Asked, pods: Iterable[Pod], generation: int = 0) -> dict[str, Any]:
    """Return a slice in which these pods are ready. generation: where no API server counts them; 0 where one does."""
    made = services.endpoint_slice(asked, ())
    made["ports"] = [{**port, "port": FIRST_PORT + asked.number} for port in made["ports"]]
    made["endpoints"] = endpoints(asked, pods)
    if generation:
        made["metadata"]["generation"] = generation
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **made}


def endpoints(asked: Asked, pods: Iterable[Pod]) -> list[dict[str, Any]]:
    return [
        {"addresses": [pod.address(int(asked.family))], "conditions": {"ready": True}, "nodeName": pod.node}
        for pod in pods
    ]
