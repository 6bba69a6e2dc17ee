"""/healthz and /livez as kube-proxy answers them: 200 or 503, and JSON that says when the agent was last up to date.

The difference between the two: /healthz says 503 too on a node that is about to go (KEP-3836), so that load balancers
look for another one. /livez is for what restarts an agent that is stuck.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from socklb.api.objects import Node
from socklb.health.progress import Progress
from socklb.health.server import Answer, Respond

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


def is_eligible(node: Node | None) -> bool:
    """Whether load balancers may send new connections to a node. One that is not known yet may serve."""
    if node is None:
        return True
    return not node.metadata.deletionTimestamp and all(taint.key != TO_BE_DELETED for taint in node.spec.taints)


def by_path(pages: Mapping[str, Respond]) -> Respond:
    """Answer with the page of the path that is asked for, or 404 and what there is."""

    def respond(path: str, accept: str) -> Answer:
        page = pages.get(path)
        return page(path, accept) if page else Answer(404, f"there is {', '.join(sorted(pages))}\n".encode())

    return respond


def livez(progress: Progress) -> Answer:
    """Say whether the agent is in sync and gets its changes applied."""
    return _health(progress.healthy(), progress, {})


def healthz(progress: Progress, *, eligible: bool) -> Answer:
    """Say whether this node may be sent new connections."""
    return _health(progress.healthy() and eligible, progress, {"nodeEligible": eligible})


def _health(healthy: bool, progress: Progress, more: Mapping[str, object]) -> Answer:
    now = time.time()
    updated = now if healthy else progress.last_applied  # a healthy agent is up to date, as kube-proxy says it
    body = {"lastUpdated": _text(updated), "currentTime": _text(now), **more}
    headers = {"X-Content-Type-Options": "nosniff"}
    return Answer(200 if healthy else 503, json.dumps(body).encode(), "application/json", headers)


def _text(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
