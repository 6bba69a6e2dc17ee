"""What a Service should be served: a second formulation, endpoint by endpoint, in the words of the documentation.

It works on objects as they are written, with names and addresses in text, and is as slow as it is plain.
"""

import ipaddress
from typing import Any

Raw = dict[str, Any]


def version(address: str) -> int:
    return ipaddress.ip_address(address).version


def host_and_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Offered(list[tuple[Raw, str]]):
    """Endpoints of a Service port in one family, and where each listens."""

    def ready(self) -> "Offered":
        return Offered((one, at) for one, at in self if one.get("conditions", {}).get("ready", True))

    def terminating(self) -> "Offered":
        """Those that terminate and still serve; `serving` is as `ready` where it is not said."""
        found = Offered()
        for one, at in self:
            conditions = one.get("conditions", {})
            if conditions.get("terminating", False) and conditions.get("serving", conditions.get("ready", True)):
                found.append((one, at))
        return found

    def hinted(self, kind: str, name: str) -> "Offered":
        return Offered((one, at) for one, at in self if {"name": name} in one.get("hints", {}).get(kind, []))

    def all_hinted(self, kind: str) -> bool:
        return all(one.get("hints", {}).get(kind) for one, _ in self)

    def on(self, node: str) -> "Offered":
        return Offered((one, at) for one, at in self if one.get("nodeName") == node)

    def places(self) -> list[str]:
        return sorted({at for _, at in self})

    def in_cluster(self, node: str, zone: str) -> list[str]:
        ready = self.ready()
        if not ready:
            return self.terminating().places()
        for kind, name in (("forNodes", node), ("forZones", zone)):
            if ready.all_hinted(kind) and ready.hinted(kind, name):
                return ready.hinted(kind, name).places()
        return ready.places()

    def on_node(self, node: str) -> list[str]:
        there = self.on(node)
        return there.ready().places() or there.terminating().places()


class Naive:
    """One Service on the node w1."""

    def __init__(self, service: Raw, slices: list[Raw], zone: str) -> None:
        self.spec, self.status, self.slices = service["spec"], service.get("status", {}), slices
        self.zone = zone
        self.annotations = service["metadata"].get("annotations", {})

    def frontends(self, allowed: tuple[str, ...]) -> dict[str, Raw]:
        if self.spec.get("type") == "ExternalName" or "None" in self.spec["clusterIPs"]:
            return {}
        external = [ip for ip in self.spec.get("externalIPs", []) if ip in allowed]
        cluster_ips, ingress = self.spec["clusterIPs"], self._ingress()
        versions = {version(ip) for ip in cluster_ips or [*external, *ingress]} or {4}
        found: dict[str, Raw] = {}
        for port in self.spec["ports"]:
            for family in versions:
                found |= self._in_family(family, port, cluster_ips, external, ingress)
        return found

    def _ingress(self) -> list[str]:
        if self.spec.get("type") != "LoadBalancer":
            return []
        ingress = self.status.get("loadBalancer", {}).get("ingress", [])
        return [one["ip"] for one in ingress if "ip" in one and one.get("ipMode", "VIP") == "VIP"]

    def _in_family(
        self, family: int, port: Raw, cluster_ips: list[str], external: list[str], ingress: list[str]
    ) -> Raw:
        offered, how, protocol = self._offered(family, port), self._how(), port["protocol"]
        local = self.spec.get("externalTrafficPolicy") == "Local"
        everywhere = {"backends": offered.in_cluster("w1", self.zone), **how}
        inside = {"backends": offered.on_node("w1"), **how} if self._is_local_inside() else everywhere
        outside = everywhere | {"outside": offered.on_node("w1")} if local else everywhere
        asked = [(ip, port["port"], inside) for ip in cluster_ips]
        asked += [(ip, port["port"], outside) for ip in external]
        asked += [(ip, port["port"], outside | self._sources(family)) for ip in ingress]
        if self.spec.get("type") in {"NodePort", "LoadBalancer"} and port["nodePort"]:
            any_address, more = {4: "0.0.0.0", 6: "::"}[family], {"own_node_only": True} if local else {}
            asked.append((any_address, port["nodePort"], outside | more))
        return {f"{host_and_port(ip, number)}/{protocol}": how for ip, number, how in asked if version(ip) == family}

    def _is_local_inside(self) -> bool:
        return self.spec.get("internalTrafficPolicy") == "Local"

    def _offered(self, family: int, port: Raw) -> Offered:
        return Offered(
            (one, host_and_port(one["addresses"][0], listed["port"]))
            for slice_ in self.slices
            if slice_["addressType"] == f"IPv{family}"
            for listed in slice_["ports"]
            if listed.get("port") and (listed["name"], listed["protocol"]) == (port["name"], port["protocol"])
            for one in slice_["endpoints"]
        )

    def _how(self) -> Raw:
        how: Raw = {}
        if self.spec.get("sessionAffinity") == "ClientIP":
            client = self.spec.get("sessionAffinityConfig", {}).get("clientIP", {})
            how["affinity"] = client.get("timeoutSeconds", 3 * 60 * 60)
        if self.annotations.get("socklb.io/balance") == "least-loaded":
            how["least_loaded"] = True
        return how

    def _sources(self, family: int) -> Raw:
        ranges = self.spec.get("loadBalancerSourceRanges", [])
        networks = {ipaddress.ip_network(text.strip(), strict=False) for text in ranges}
        return {"sources": tuple(sorted(str(n) for n in networks if n.version == family))} if ranges else {}
