"""What a lab brings along is served, and gone afterwards; a process of its own lives through its steps."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from labs.engine.env import Env
from labs.engine.evidence import Evidence
from labs.engine.model import Lab
from labs.engine.places import at
from labs.engine.screen import Screen
from labs.engine.stage import prepare, restore, serve
from labs.engine.target import open_target
from tests.support.cluster import Cluster

OBJECTS = """\
apiVersion: v1
kind: Service
metadata: { name: sticky }
spec:
  type: NodePort
  selector: { app: web }
  sessionAffinity: ClientIP
  ports: [{ port: 81, targetPort: 8080 }]
"""


@pytest.fixture
def env(cluster: Cluster, tmp_path: Path) -> Env:
    return Env(open_target(), Evidence(tmp_path).of("step"), Screen(Console(file=io.StringIO())), tmp_path)


@pytest.fixture
def lab(env: Env) -> Iterator[Lab]:
    lab = Lab(minutes=1)
    lab.folder = env.folder / "98-objects"
    lab.folder.mkdir()
    lab.objects.write_text(OBJECTS)
    yield lab
    restore(lab, env)


def test_services_that_a_lab_brings_are_served_by_the_pods_they_select(lab: Lab, env: Env) -> None:
    prepare(lab, env)
    for end in env.on.cluster_ip("sticky"), env.on.node_port("sticky"), env.on.cluster_ip("sticky", 6):
        answers = {env.ask(env.on.curl(end)).out.strip() for _ in range(5)}
        assert len(answers) == 1, "one pod for one client"
        assert answers < {*env.on.backends("sticky")}
    assert {*env.on.backends("sticky")} == {*env.on.backends("web")}


def test_a_later_run_finds_what_an_earlier_one_brought(lab: Lab, env: Env) -> None:
    prepare(lab, env)
    assert open_target().cluster.services["sticky"] == env.on.service("sticky")


def test_a_pod_leaves_the_services_of_a_lab_and_comes_back(lab: Lab, env: Env) -> None:
    prepare(lab, env)
    pods = {*env.on.backends("sticky")}
    (gone, *_) = sorted(pods)

    def left() -> set[str]:
        said = env.ask(at(env.on.client_node, "socklb", "service", "list", "sticky")).out
        return {pod for pod, end in env.on.backends("sticky").items() if str(end) in said}

    serve(lab, env, without=[gone])
    assert left() == pods - {gone}
    assert env.ask(env.on.curl(env.on.backends()[gone])).exit == 0, "the pod is there"
    serve(lab, env)
    assert left() == pods


def test_afterwards_nobody_serves_them(lab: Lab, env: Env) -> None:
    prepare(lab, env)
    sticky = env.on.cluster_ip("sticky")
    assert env.ask(env.on.curl(sticky)).exit == 0, "the control"
    restore(lab, env)
    assert "sticky" not in env.on.cluster.services
    assert env.ask(env.on.curl(sticky)).exit, "at once"


def test_a_process_lives_until_it_is_stopped_and_what_it_said_is_there(env: Env) -> None:
    client = env.on.client
    env.start("ticks", at(client, "sh", "-c", "echo begun; exec sleep 300.25"))
    running = at(client, "pgrep", "-f", "^sleep 300.25")
    env.until("it runs", lambda: env.ask(running).exit == 0)
    assert env.stop("ticks", client) == "begun\n"
    env.until("it has ended", lambda: env.ask(running).exit == 1)
    assert env.stop("ticks", client) == "", "what does not run can be stopped"
