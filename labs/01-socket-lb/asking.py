"""Who asks whom in this lab, and how: places, addresses and the few commands that several steps share."""

import json
import re
from typing import Any

from labs.engine.cluster import V4, Cluster
from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.packet import Endpoint
from labs.engine.places import Output

CLIENT, WEB, DNS = "client", "web", "dns"
CURL = ("curl", "-s", "--max-time", "2")
MANY = 41  # a prime; each of three backends misses all of them once in 16 million runs


def client_node(cluster: Cluster) -> str:
    return cluster.pods[CLIENT].node


def asked_node(cluster: Cluster) -> str:
    """The node whose NodePort is asked: not the client's own."""
    return [node for node in cluster.nodes if node != client_node(cluster)][-1]


def third_node(cluster: Cluster) -> str:
    """A node with a backend, which is neither the client's nor the one that is asked."""
    for pod in cluster.backends(WEB):
        if cluster.pods[pod].node not in (client_node(cluster), asked_node(cluster)):
            return cluster.pods[pod].node
    raise CannotRunError(f"no pod of {WEB} on a third node: neither {client_node(cluster)} nor {asked_node(cluster)}")


def node_port(cluster: Cluster, family: int = V4) -> Endpoint:
    return cluster.node_port(WEB, asked_node(cluster), family)


def url(service: Endpoint) -> str:
    return f"http://{service}/"


def record_service(env: Env) -> None:
    env.record("service", node_port(env.cluster))
    env.record("asked", asked_node(env.cluster))
    env.record("backends", env.cluster.backends(WEB))


def uplink(env: Env, node: str) -> tuple[str, str]:
    """Where the client's packets come in at a node, and the filter for them."""
    client = env.cluster.pod_address(CLIENT)
    route = env.quietly(node, "ip", "-o", "route", "get", client).out
    found = re.search(r" dev (\S+)", route)
    if not found:
        raise CannotRunError(f"{node} has no route to the client, {client}: {route.strip()}")
    return found[1], f"host {client} and (tcp or icmp)"


def peer(env: Env, protocol: str, service: Endpoint) -> Any:
    done = env.run(CLIENT, "python3", "-", protocol, service.address, str(service.port), stdin="peer.py")
    return (
        json.loads(done.out)
        if not done.exit
        else {"asked": str(service), "peer": done.err.strip().splitlines()[-1], "answer": ""}
    )


def is_on(cluster: Cluster, done: Output, node: str) -> bool:
    pod = cluster.pods.get(done.out.strip())
    return pod is not None and pod.node == node
