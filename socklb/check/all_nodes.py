"""`socklb check` on every node of a cluster, by kubectl in the pods of the DaemonSet.

for node, results in check(): ...       # in the order of the nodes' names
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from socklb.check.result import FAILED, Result
from socklb.errors import SocklbError

SELECTOR = "app.kubernetes.io/name=socklb"
LINUX = "kubernetes.io/os=linux"
CONTAINER = "agent"
AT_ONCE = 8
PATIENCE = 120  # seconds, for one node


class Pod(NamedTuple):
    """An agent's pod."""

    namespace: str
    name: str


def check() -> Iterator[tuple[str, list[Result]]]:
    """Check every Linux node.

    Raises:
        SocklbError: there is no kubectl, it cannot read nodes or pods, or no node has a pod of the DaemonSet.
    """
    nodes: list[str] = sorted(item["metadata"]["name"] for item in _get("nodes", "--selector", LINUX))
    pods = _pods()
    if not pods:
        hint = "socklb check on each node, or for nodes of an inventory: pyinfra inventory deploys/check.py"
        raise SocklbError(f"no pod with the label {SELECTOR} runs", hint=hint)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from zip(nodes, threads.map(_check, nodes, map(pods.get, nodes)), strict=True)


def _pods() -> dict[str, Pod]:
    """Return the agent's pod on each node."""
    found: dict[str, Pod] = {}
    for item in _get("pods", "--all-namespaces", "--selector", SELECTOR):
        if any(one["name"] == CONTAINER and "running" in one["state"] for one in _containers(item)):
            found[item["spec"]["nodeName"]] = Pod(item["metadata"]["namespace"], item["metadata"]["name"])
    return found


def _containers(pod: Any) -> list[Any]:
    return pod["status"].get("containerStatuses", [])


def _check(node: str, pod: Pod | None) -> list[Result]:
    if pod is None:
        wide = f"kubectl get pods --all-namespaces --selector {SELECTOR} --field-selector spec.nodeName={node}"
        return [_failed("no pod of the DaemonSet runs there", wide)]
    words = [*("exec", "--namespace", pod.namespace, pod.name, "--container", CONTAINER), "--", "socklb", "check"]
    further = f"kubectl {' '.join(words)}"
    try:
        done = _kubectl(*words, "--json")
    except subprocess.TimeoutExpired:
        return [_failed(f"no answer in {PATIENCE} s", further)]
    try:
        return [Result(**row) for row in json.loads(done.stdout)]
    except (ValueError, TypeError):
        return [_failed(_last_line(done.stderr) or "it says nothing", further)]


def _failed(seen: str, further: str) -> Result:
    return Result("agent", "the agent", FAILED, seen, further)


def _get(*what: str) -> list[Any]:
    done = _kubectl("get", *what, "--output", "json")
    if done.returncode:
        hint = "kubectl config current-context; kubectl auth can-i list nodes; kubectl auth can-i list pods -A"
        raise SocklbError(f"kubectl get {what[0]}: {_last_line(done.stderr)}", hint=hint)
    return json.loads(done.stdout)["items"]


def _kubectl(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False, timeout=PATIENCE)
    except FileNotFoundError:
        raise SocklbError("no kubectl on PATH", hint="run it where kubectl reaches the cluster") from None


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")
