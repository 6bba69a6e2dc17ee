"""deploys/monitoring as Prometheus and Grafana read it: the rules, and what the dashboard asks."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploys" / "monitoring"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "rules.yaml").read_text())["spec"]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]


def asked(panel: dict[str, Any], window: str = "1m") -> list[str]:
    """Return the expressions of a panel, with Grafana's variables filled in: all nodes, and this window of rates."""
    texts = (target["expr"] for target in panel.get("targets", ()))
    return [text.replace("$__rate_interval", window).replace("$instance", ".*") for text in texts]


def expressions() -> list[str]:
    """Return every expression of rules and dashboard."""
    return [*(alert["expr"] for alert in ALERTS), *(text for panel in PANELS for text in asked(panel))]


def metrics_in(expression: str) -> set[str]:
    """Return the metrics of ours that an expression names."""
    return {*re.findall(r"\bsocklb_\w+", expression)}
