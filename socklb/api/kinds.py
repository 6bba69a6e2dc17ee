"""Which kinds the agent reads, and which other kinds are probably misspellings of them.

KINDS["discovery.k8s.io/v1", "EndpointSlice"]        how it is read
API_KINDS["v1", "Pod"]                               the same, including kinds that a folder of manifests cannot
have
LISTS["discovery.k8s.io/v1", "EndpointSliceList"]    the type of its items, which need not name it themselves
near_miss("v1", "EndpointSlice")                     ("discovery.k8s.io/v1", "EndpointSlice")
near_miss("apps/v1", "Deployment")                   None: not the agent's
"""

from __future__ import annotations

from difflib import get_close_matches

from socklb.api.objects import EndpointSlice, Namespace, Node, Pod, Service, ServiceCIDR

Type = tuple[str, str]  # apiVersion, kind

KINDS = {
    ("v1", "Service"): Service,
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSlice,
    ("v1", "Node"): Node,
    ("networking.k8s.io/v1", "ServiceCIDR"): ServiceCIDR,
}
# A manifest has no UID, and a Pod's cgroup is found by its UID only.
API_KINDS = {**KINDS, ("v1", "Pod"): Pod, ("v1", "Namespace"): Namespace}
ANY_LIST = ("v1", "List")
LISTS = {(version, f"{kind}List"): (version, kind) for version, kind in KINDS}
WITHOUT_NAMESPACE = {Node.kind, ServiceCIDR.kind, Namespace.kind}

_BY_SPELLING = {kind.lower(): (version, kind) for version, kind in (*KINDS, *LISTS, ANY_LIST)}
_OLDER = {"endpoint": EndpointSlice.kind, "endpoints": EndpointSlice.kind, "endpointslist": f"{EndpointSlice.kind}List"}
_ALIKE = 0.85  # "Sevice", "Servcie" and "Nodes" are alike; APIService (0.82) and ServiceAccount are other kinds


def near_miss(version: str, kind: str) -> Type | None:
    """Return the type that was probably meant by one that is not read; None: it is no misspelling."""
    if not _is_of_kubernetes(version):  # Knative, for example, has its own Service
        return None
    spelling = _OLDER.get(kind.lower(), kind).lower()
    alike = get_close_matches(spelling, _BY_SPELLING, n=1, cutoff=_ALIKE)
    return _BY_SPELLING[alike[0]] if alike else None


def _is_of_kubernetes(version: str) -> bool:
    """Return whether a version's group belongs to Kubernetes: empty, a bare word such as apps, or below k8s.io."""
    group = version.rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")
