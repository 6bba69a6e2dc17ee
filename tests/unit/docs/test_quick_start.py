"""The quick start: every command that README.md has a reader type is one that a test runs, and CI runs that test."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUN_BY_CI = {  # by a word of the command: where it is run, and the words by which
    "pyinfra inventory deploys/cluster.py": ("tests/nodes/conftest.py", 'deploy("cluster")'),
    "pyinfra inventory deploys/teardown.py": ("tests/cluster/test_teardown.py", 'deploy("teardown")'),
    "pyinfra inventory/kind.py deploys/cluster.py": ("tests/e2e/conftest.py", 'deploy("cluster")'),
    "lab run 01": ("tests/labs/test_socket_lb.py", 'lab("run", "01", "--ci"'),
    "SOCKLB_INVENTORY=kind lab run 01": ("tests/e2e/test_labs.py", 'lab("run", "01", "--ci"'),
    "python tests/run.py": (".ci/run", "stage test "),
    "docker exec socklb-worker curl -s http://socklb-worker2:32000/": (
        "tests/e2e/test_deploy.py",
        'docker("exec", "socklb-worker", "curl", "-s", "http://socklb-worker2:32000/")',
    ),
    "source .venv/bin/activate && lab exec w1 -- socklb status": (
        "tests/labs/test_exec.py",
        "source .venv/bin/activate && lab exec w1 -- socklb status",
    ),
}
SAYS = ("printf", "echo", "setup/", "make", "images/")  # what a recipe says, and what it sets up, which CI does first


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for block in blocks(page) for line in block.splitlines()]


def recipe(target: str) -> list[str]:
    """Return what a make target comes to, a command in a line, without options that keep pyinfra quiet."""
    asked = ["make", "--dry-run", "-o", "ready", "-o", "setup", target]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [re.sub(r" (-y|--fail-percent 0)\b", "", line).strip() for line in done.replace("\\\n", " ").splitlines()]
    plain = [re.sub(r"^setup/step\.sh \S+ \"[^\"]*\"\s+", "", line) for line in lines]
    return [line for line in plain if line and not line.startswith((*SAYS, "["))]


def typed() -> list[str]:
    """Return the commands of the quick start, each make target as what it comes to."""
    whole: list[str] = []
    for command in commands("README.md"):
        whole += recipe(command.removeprefix("make ")) if command.startswith("make ") else [command]
    return whole


def test_there_are_commands_and_what_they_come_to_is_seen() -> None:
    assert {"make lab", "make teardown"} <= set(commands("README.md"))
    assert recipe("lab") == ["pyinfra inventory deploys/cluster.py", "lab run 01"]
    assert recipe("teardown") == ["pyinfra inventory deploys/teardown.py"]


@pytest.mark.parametrize("command", typed())
def test_every_command_is_run_by_a_test_in_ci(command: str) -> None:
    assert command in RUN_BY_CI, f"README.md has a reader type what no test runs: {command}. Valid: {[*RUN_BY_CI]}"
    file, words = RUN_BY_CI[command]
    assert words in (ROOT / file).read_text(), f"{file} no longer runs: {command}"


def test_the_chinese_quick_start_has_the_same_commands() -> None:
    assert commands("README.zh-CN.md") == commands("README.md")
