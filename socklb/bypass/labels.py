"""Which Pods are to be left out, by the label of the Pod or of its Namespace; the Pod's own counts first. Pure.

labelled(state.pods.values(), state.namespaces)     # {UID of its cgroup: Labelled}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from socklb.api.marks import BYPASS
from socklb.api.objects import Namespace, Pod

BY_POD, BY_NAMESPACE = f"label {BYPASS} of the Pod", f"label {BYPASS} of its Namespace"


class Labelled(NamedTuple):
    """A Pod, which label it has, and whether a kubelet reports that the Pod runs."""

    pod: str
    why: str
    runs: bool


def labelled(pods: Iterable[Pod], namespaces: Mapping[str, Namespace]) -> dict[str, Labelled]:
    """Return those that are to be left out and have not ended."""
    found = ((pod, _why(pod, namespaces.get(pod.metadata.namespace))) for pod in pods if not pod.ended)
    return {pod.cgroup_uid: Labelled(pod.key, why, pod.status.phase == "Running") for pod, why in found if why}


def _why(pod: Pod, namespace: Namespace | None) -> str:
    own = pod.metadata.labels.get(BYPASS)
    if own is not None:
        return BY_POD if own == "true" else ""
    return BY_NAMESPACE if namespace and namespace.metadata.labels.get(BYPASS) == "true" else ""
