"""/healthz and /livez as kube-proxy answers them: 200 or 503, and JSON that says when the agent was last up to date.

With 503, `reasons` says why.

/livez is for whatever restarts a stuck agent. It fails if the agent is not in sync yet, if a change has waited for a
minute, or if a task or thread has ended. /healthz fails in these cases too, and if this node does not serve: hooks that
are not attached, a packet path that is missing, a node that is about to be removed (KEP-3836). In those cases a restart
would not help, but another node does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from socklb.api.objects import Node
from socklb.health.progress import Progress
from socklb.health.server import Answer, Respond
from socklb.report import Report

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


def is_eligible(node: Node | None) -> bool:
    """Return whether load balancers may send new connections to a node. A node that is not known yet may serve."""
    if node is None:
        return True
    return not node.metadata.deletionTimestamp and all(taint.key != TO_BE_DELETED for taint in node.spec.taints)


def by_path(pages: Mapping[str, Respond]) -> Respond:
    """Return a function that answers with the page of the requested path, or with 404 and the list of pages."""

    def respond(path: str, accept: str) -> Answer:
        page = pages.get(path)
        return page(path, accept) if page else Answer(404, f"there is {', '.join(sorted(pages))}\n".encode())

    return respond


def stuck(report: Report) -> list[str]:
    """Return what is wrong with the agent itself; empty if it is alive."""
    found = [] if report.synced else ["not in sync yet"]
    found += ["a change waits to be applied"] if report.late else []
    return found + [f"{one.name}: {one.error or 'it is gone'}" for one in report.running if not one.alive]


def not_serving(report: Report) -> list[str]:
    """Return why this node does not serve, or not as it should; empty if it does."""
    found = stuck(report)
    if report.synced and report.lacking:
        found.append(f"hooks that are not attached: {', '.join(report.lacking)}")
    if report.synced and report.connect.translated is False:
        found.append(f"a connect of the agent's own is not translated: {report.connect.error}")
    if report.synced and report.packet_path.enabled and report.packet_path.whole is False:
        found.append("the packet path is not there" if not report.packet_path.there else "the packet path is damaged")
    return found


def livez(report: Report, progress: Progress) -> Answer:
    """Return whether the agent is in sync, whole, and applies its changes."""
    return _health(stuck(report), progress, {})


def healthz(report: Report, progress: Progress) -> Answer:
    """Return whether this node may be sent new connections."""
    reasons = not_serving(report)
    reasons += [] if report.eligible else ["this node is about to go"]
    return _health(reasons, progress, {"nodeEligible": report.eligible})


def _health(reasons: Sequence[str], progress: Progress, more: Mapping[str, object]) -> Answer:
    now = time.time()
    updated = progress.last_applied if reasons else now  # a healthy agent is up to date, as kube-proxy says it
    body = {"lastUpdated": _text(updated), "currentTime": _text(now), **more}
    if reasons:
        body["reasons"] = reasons
    headers = {"X-Content-Type-Options": "nosniff"}
    return Answer(503 if reasons else 200, json.dumps(body).encode(), "application/json", headers)


def _text(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat()
