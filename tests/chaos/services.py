"""The Services of a chaos walk, and whose address is whose: no two Services share a backend, so an answer says enough.

Asked(3, "4").cluster_ip        10.96.1.13
owner("10.244.1.46")            Asked(3, "4")
"""

from __future__ import annotations

from typing import Any, NamedTuple

COUNT = 12
EACH = 2  # backends of a Service in each pod, of each family
FAMILIES = ("4", "6")
PORT, TARGET = 80, 8080
FIRST_NODE_PORT = 32400  # lower ones are of labs and of the clusters' own Services
FIRST_OF_POD = {"a": 20, "b": 60, "far": 100}  # the last number of a pod's first further address
_NETWORK = {"a": "1", "b": "1", "far": "2"}


class Asked(NamedTuple):
    """A Service, by its number, and the family in which it is asked: what an EndpointSlice speaks of."""

    number: int
    family: str

    @property
    def service(self) -> str:
        return f"chaos-{self.number}"

    @property
    def slice(self) -> str:
        return f"{self.service}-{self.family}"

    @property
    def cluster_ip(self) -> str:
        last = 10 + self.number
        return f"10.96.1.{last}" if self.family == "4" else f"fd00:10:96::1{last:02}"

    @property
    def node_port(self) -> int:
        return FIRST_NODE_PORT + self.number

    @property
    def backends(self) -> tuple[str, ...]:
        """All that may ever be in its slice."""
        return tuple(
            _address(pod, self.number * EACH + one, self.family) for pod in FIRST_OF_POD for one in range(EACH)
        )


ALL = tuple(Asked(number, family) for number in range(COUNT) for family in FAMILIES)


def _address(pod: str, number: int, family: str) -> str:
    last, network = FIRST_OF_POD[pod] + number, _NETWORK[pod]
    return f"10.244.{network}.{last}" if family == "4" else f"fd00:10:244:{network}::1{last:03}"


def of_pod(pod: str) -> tuple[str, ...]:
    """Return a pod's further addresses."""
    return tuple(_address(pod, number, family) for number in range(COUNT * EACH) for family in FAMILIES)


_OWNERS = {address: asked for asked in ALL for address in asked.backends}


def owner(address: str) -> Asked | None:
    """Say whose backend answers from this address."""
    return _OWNERS.get(address)


def service(number: int) -> dict[str, Any]:
    """Return a dual-stack NodePort Service, TCP and UDP, as it is created."""
    ports = [
        {
            "name": protocol.lower(),
            "protocol": protocol,
            "port": PORT,
            "targetPort": TARGET,
            "nodePort": FIRST_NODE_PORT + number,
        }
        for protocol in ("TCP", "UDP")
    ]
    ips = [Asked(number, family).cluster_ip for family in FAMILIES]
    how = {"type": "NodePort", "clusterIPs": ips, "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}
    return {"metadata": {"name": f"chaos-{number}"}, "spec": {"clusterIP": ips[0], "ports": ports, **how}}


def endpoint_slice(asked: Asked, addresses: tuple[str, ...]) -> dict[str, Any]:
    """Return its slice with these backends ready."""
    return {
        "metadata": {"name": asked.slice, "labels": {"kubernetes.io/service-name": asked.service}},
        "addressType": f"IPv{asked.family}",
        "ports": [{"name": protocol.lower(), "port": TARGET, "protocol": protocol} for protocol in ("TCP", "UDP")],
        "endpoints": endpoints(addresses),
    }


def endpoints(addresses: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
