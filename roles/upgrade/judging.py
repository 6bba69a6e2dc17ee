"""Whether a cluster may get the version that the inventory says, and which of its machines do not have it: pure.

Kubernetes' own rules (https://kubernetes.io/releases/version-skew-policy/): one minor version at a time, never an older
one, no kubelet newer than the API server that it asks.
"""

from collections.abc import Iterator, Mapping, Sequence

from roles.kubectl import KubernetesNode
from roles.kubernetes_packages.versions import fits, minor, numbers

Nodes = Mapping[str, KubernetesNode]


def objections(wanted: str, api: str, nodes: Nodes, machines: Sequence[str]) -> Iterator[str]:
    """Yield why it may not, each with the next command. `wanted` is of the inventory, `api` of the API server."""
    for name in machines:
        if name not in nodes:
            yield f"{name} is no Node of the cluster. Next: take it out of the inventory, and add it after the upgrade"
    yield from _steps("the API server", api, wanted, "Kubernetes has no downgrade")
    for name, node in nodes.items():
        newer = "a kubelet must not be newer than the API server"
        yield from _steps(f"the kubelet of {name}", node["kubelet"], wanted, newer)
    for name, node in nodes.items():
        yield from _rests(name, node)


def pending(wanted: str, api: str, nodes: Nodes, planes: Sequence[str], machines: Sequence[str]) -> list[str]:
    """Return the machines that do not have it yet, also those that an interrupted upgrade has begun."""
    behind = {name for name, node in nodes.items() if node["upgrading"] or not fits(node["kubelet"], wanted)}
    behind |= set() if fits(api, wanted) else {*planes}
    return [name for name in machines if name in behind]


def _steps(what: str, version: str, wanted: str, newer: str) -> Iterator[str]:
    asked = numbers(wanted)
    (major, present), (_, next_one) = minor(version), minor(wanted)
    if numbers(version)[: len(asked)] > asked:
        yield (
            f"{what} is {version}, and the inventory says {wanted}, which is older: {newer}. "
            f'Next: kubernetes_version="{major}.{present}" or newer in the inventory, and its source'
        )
    elif next_one - present > 1:
        yield (
            f"{what} is {version}, and the inventory says {wanted}: Kubernetes takes one minor version at a time. "
            f'Next: kubernetes_version="{major}.{present + 1}" and its source in the inventory, then the same command'
        )


def _rests(name: str, node: KubernetesNode) -> Iterator[str]:
    """Yield what is wrong with a Node that no upgrade has begun: one that is begun is judged at its end."""
    if node["upgrading"]:
        return
    if not node["ready"]:
        yield f"{name} is not Ready, so others' pods cannot move to it. Next: kubectl describe node {name}"
    if node["cordoned"]:
        yield f"{name} is cordoned, and an upgrade would end that. Next: kubectl uncordon {name}"
