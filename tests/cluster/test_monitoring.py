"""A real Prometheus beside an agent: each metric that alerts and dashboard name is there, and answers each panel."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from inventory.place import Place
from tests.support.cluster import Cluster
from tests.support.monitoring import PANELS, RULES, asked, expressions, metrics_in
from tests.support.waiting import until

AGENT, PROMETHEUS = "127.0.0.1:10249", "127.0.0.1:19090"
WAIT = 30.0
# Nothing stands and nothing fails on a healthy node, its Services are not counted by name, and no Service of the lab
# says when its endpoints changed.
EMPTY = {
    "Alarms that stand",
    "Tasks that fail",
    "Connects by Service",
    "Sockets by Service",
    "From a changed endpoint to the kernel",
}


@pytest.fixture(scope="module")
def w1(cluster: Cluster) -> Place:
    return cluster.node("w1")


@pytest.fixture(scope="module")
def prometheus(w1: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The node, with a Prometheus beside its agent; its files are the node's own."""
    folder = w1.output("mktemp", "-d").strip()
    scrape = {"job_name": "socklb", "static_configs": [{"targets": [AGENT]}]}
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yml"]}
    put(w1, f"{folder}/rules.yml", RULES)
    put(w1, f"{folder}/prometheus.yml", config | {"scrape_configs": [scrape]})
    options = {"config.file": f"{folder}/prometheus.yml", "storage.tsdb.path": f"{folder}/data"}
    words = [f"--{name}={value}" for name, value in (options | {"web.listen-address": PROMETHEUS}).items()]
    log = tmp_path_factory.mktemp("prometheus") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(w1.argv("prometheus", *words), stdout=out, stderr=out)
    try:
        until(lambda: answer(w1, "changes(timestamp(up)[1m:1s]) > 1"), 2 * WAIT, pause=0.3)  # a rate can be told
        yield w1
    finally:
        process.terminate()
        process.wait(WAIT)
        print(log.read_text())
        w1.output("rm", "-r", folder)


def put(w1: Place, file: str, content: object) -> None:
    w1.run("tee", file, given=yaml.safe_dump(content))


def answer(w1: Place, expression: str) -> list[dict[str, Any]]:
    """Ask Prometheus; give nothing while it does not answer."""
    url = f"http://{PROMETHEUS}/api/v1/query"
    said = w1.run("curl", "-sf", "--max-time", "10", url, "--data-urlencode", f"query={expression}").stdout
    if not said:
        return []
    found = json.loads(said)
    assert found["status"] == "success", f"{expression}: {found}"
    return found["data"]["result"]


def test_every_metric_that_is_asked_for_is_exported(w1: Place) -> None:
    text = w1.output("curl", "-s", f"http://{AGENT}/metrics")
    exported = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    named = {name.removesuffix("_bucket") for text in expressions() for name in metrics_in(text)}
    assert named - exported == set()
    assert len(named) > 30


def test_every_panel_has_an_answer(prometheus: Place) -> None:
    for panel in PANELS:
        found = [answer(prometheus, text) for text in asked(panel)]
        assert panel["title"] in EMPTY or all(found), panel["title"]


def test_of_a_healthy_node_no_alert_is_heard(prometheus: Place) -> None:
    said = json.loads(prometheus.output("curl", "-s", f"http://{PROMETHEUS}/api/v1/rules"))
    rules = [rule for group in said["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert {rule["name"] for rule in rules if rule["state"] != "inactive"} == set()
