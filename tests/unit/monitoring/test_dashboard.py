"""deploys/monitoring/dashboard.json: what Grafana draws, without a Grafana; tests/cluster asks a real Prometheus."""

import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from tests.support.monitoring import DASHBOARD, PANELS, asked

WIDTH = 24


def test_every_panel_has_a_place_of_its_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= WIDTH for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Return whether two panels cover the same cell."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_every_panel_but_a_row_says_what_it_shows_and_asks_the_chosen_prometheus() -> None:
    (source,) = (one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource")
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["description"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {f"${{{source['name']}}}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    texts = [text for panel in PANELS for text in asked(panel)]
    rules: list[dict[str, Any]] = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(texts)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 30
