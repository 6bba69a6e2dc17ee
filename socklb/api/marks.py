"""The labels and annotations that the agent reads. Others are dropped: `kubectl apply` writes a whole object into one.

metadata.labels.get(marks.ZONE)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
ZONE = "topology.kubernetes.io/zone"
# kube-proxy leaves Services with one of these labels alone, whatever the value.
OTHERS = frozenset({"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"})
BYPASS = "socklb.io/bypass"
# annotations
BALANCE = "socklb.io/balance"
ON_REMOVAL = "socklb.io/on-removal"
# of a static Pod from a kubelet's file: the UID that its cgroup is named by
CONFIG_HASH = "kubernetes.io/config.hash"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"

READ = frozenset({SERVICE_NAME, MANAGED_BY, ZONE, *OTHERS, BYPASS, BALANCE, ON_REMOVAL, CONFIG_HASH, TRIGGERED})
NONE: Mapping[str, str] = MappingProxyType({})  # shared


def kept(found: Mapping[str, str]) -> Mapping[str, str]:
    """Return the labels or annotations that are read."""
    return {name: found[name] for name in READ if name in found} or NONE  # our own names: one for all
