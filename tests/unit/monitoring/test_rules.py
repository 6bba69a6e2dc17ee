"""deploys/monitoring/rules.yaml: promtool reads it, each alert comes when it should, and no alarm is without one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from socklb.health.alarms import NAMES
from tests.support.monitoring import ALERTS, RULES

CASES = Path(__file__).with_name("rules_test.yaml")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(RULES))
    return file


def promtool(*argv: str, folder: Path) -> str:
    done = subprocess.run(["promtool", *argv], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules(rules: Path) -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", rules.name, folder=rules.parent)


def test_each_alert_comes_when_it_should(rules: Path) -> None:
    shutil.copy(CASES, rules.parent)
    promtool("test", "rules", CASES.name, folder=rules.parent)
    tried = {
        case["alertname"] for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert tried == {alert["alert"] for alert in ALERTS}


def test_every_alarm_of_an_agent_is_in_one_alert() -> None:
    patterns = [re.search(r'socklb_alarm\{name=~?"([^"]+)"', alert["expr"]) for alert in ALERTS]
    matched = [[name for name in NAMES if found and re.fullmatch(found[1], name)] for found in patterns]
    assert sorted(name for names in matched for name in names) == sorted(NAMES)
