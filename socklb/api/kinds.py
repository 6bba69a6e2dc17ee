"""Which kinds the agent reads, and which of the others were probably meant to be one of them.

KINDS["discovery.k8s.io/v1", "EndpointSlice"]        how it is read
API_KINDS["v1", "Pod"]                               the same, of what a folder of manifests cannot say
LISTS["discovery.k8s.io/v1", "EndpointSliceList"]    what its items are: they need not say it themselves
near_miss("v1", "EndpointSlice")                     ("discovery.k8s.io/v1", "EndpointSlice")
near_miss("apps/v1", "Deployment")                   None: somebody else's
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
# No manifest has a UID, by which alone a Pod's cgroup is found.
API_KINDS = {**KINDS, ("v1", "Pod"): Pod, ("v1", "Namespace"): Namespace}
ANY_LIST = ("v1", "List")
LISTS = {(version, f"{kind}List"): (version, kind) for version, kind in KINDS}
WITHOUT_NAMESPACE = {Node.kind, ServiceCIDR.kind, Namespace.kind}

_BY_SPELLING = {kind.lower(): (version, kind) for version, kind in (*KINDS, *LISTS, ANY_LIST)}
_OLDER = {"endpoint": EndpointSlice.kind, "endpoints": EndpointSlice.kind, "endpointslist": f"{EndpointSlice.kind}List"}
_ALIKE = 0.85  # "Sevice", "Servcie" and "Nodes" are; APIService (0.82) and ServiceAccount are kinds of their own


def near_miss(version: str, kind: str) -> Type | None:
    """Return the type that was probably meant by one that is not read; None: it is none of ours."""
    if not _is_of_kubernetes(version):  # Knative, for one, has a Service of its own
        return None
    spelling = _OLDER.get(kind.lower(), kind).lower()
    alike = get_close_matches(spelling, _BY_SPELLING, n=1, cutoff=_ALIKE)
    return _BY_SPELLING[alike[0]] if alike else None


def _is_of_kubernetes(version: str) -> bool:
    """Return whether a version's group is one of Kubernetes' own: none, a bare word such as apps, or below k8s.io."""
    group = version.rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")
