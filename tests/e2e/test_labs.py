"""The labs on kind: the same files, with places, addresses and pods from the cluster's own API."""

import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from labs.engine.env import Env
from labs.engine.evidence import Evidence
from labs.engine.model import Lab, load
from labs.engine.places import at
from labs.engine.scenario import Scenario
from labs.engine.screen import Screen
from labs.engine.stage import prepare, restore, serve
from labs.engine.target import open_target
from tests.labs.command import cases, lab
from tests.labs.terminal import Terminal
from tests.support.kubernetes import Kubernetes

OBJECTS = """\
apiVersion: v1
kind: Service
metadata: { name: other }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ port: 81, targetPort: 8080 }]
"""


@pytest.fixture(autouse=True)
def inventory(kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKLB_INVENTORY", "kind")


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return Env(open_target(), Evidence(tmp_path).of("step"), Screen(Console(file=io.StringIO())), tmp_path)


def test_every_claim_of_the_first_lab_holds_and_no_step_is_skipped(tmp_path: Path) -> None:
    done = lab("run", "01", "--ci", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = cases(tmp_path / "junit.xml")
    assert [case for case in found if case[2] != "true"] == []
    before = [step for step, claim, _ in found if claim == "before it is done, the step's check is false"]
    assert len(before) == len(load("01").steps)


@pytest.mark.parametrize(
    ("number", "skipped"),
    [("04", ""), ("05", ""), ("06", ""), ("07", ""), ("10", "Skipped: 1 of 5 steps")],
    ids=["04", "05", "06", "07", "10 but bcc"],
)
def test_every_claim_of_the_other_labs_for_kind_holds(number: str, skipped: str) -> None:
    done = lab("run", number, "--ci", limit=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall("Skipped: [^.]*", done.stdout) == [skipped] * bool(skipped)


def test_the_labs_of_the_ordinary_way_share_their_cluster_and_leave_nothing_of_it(kubernetes: Kubernetes) -> None:
    def of_the_ordinary_way() -> tuple[list[str], list[str]]:
        sets = [one["metadata"]["name"] for one in kubernetes.get("daemonsets", "--all-namespaces")["items"]]
        script = "iptables-save | grep -c KUBE-SVC; pgrep -c -x 'flanneld|kube-proxy'"
        return sorted(sets), [node.run("sh", "-c", script).stdout for node in kubernetes.nodes.values()]

    before = of_the_ordinary_way()
    done = lab("run", "02", "03", "11", "--ci", limit=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Skipped" not in done.stdout
    assert of_the_ordinary_way() == before


def test_the_client_outside_reaches_the_nodes_and_nothing_else(kubernetes: Kubernetes) -> None:
    def at_outside(*words: str) -> subprocess.CompletedProcess[str]:
        return lab("exec", "outside", "--", *words)

    for family, node in zip(("-4", "-6"), kubernetes.addresses("socklb-worker"), strict=True):
        assert "default" not in at_outside("ip", family, "route").stdout
        assert at_outside("ping", "-c", "1", "-W", "2", node).returncode == 0
    assert "unreachable" in at_outside("ping", "-c", "1", "-W", "2", "192.0.2.1").stderr.lower()


def test_by_hand_it_is_done_in_shells_of_pods_and_nodes() -> None:
    lab("reset", "01")
    started = lab("start", "01")
    assert started.returncode == 0, started.stderr
    assert "$ lab exec socklb-worker -- socklb status --verbose" in started.stdout
    watch = Terminal("watch")
    try:
        watch.expect("Watching")
        shell = Terminal("shell", "socklb-worker")
        shell.expect(r"\$ ")
        shell.type("socklb status")
        watch.expect("Step 1 is done")
        shell.type("exit")
        assert shell.end() == 0
        assert lab("goto", "3").returncode == 0
        watch.expect("Step 3 of 7")
        watch.expect("Watching")
        shell = Terminal("shell", "client")
        shell.expect(r"\$ ")
        shell.type("curl -s http://" + str(Scenario(open_target().cluster).node_port()) + "/")
        watch.expect("Step 3 is done")
        shell.type("exit")
        assert shell.end() == 0
    finally:
        watch.kill()
        lab("reset", "01")


def test_unhooked_is_the_same_pod_outside_the_cgroup_of_its_node() -> None:
    def said(*words: str, unhooked: bool) -> str:
        done = lab("exec", "client", *(["--unhooked"] if unhooked else []), "--", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for same in (("hostname",), ("ip", "-brief", "address"), ("cat", "/etc/hostname")):
        assert said(*same, unhooked=True) == said(*same, unhooked=False)
    # Each process sees its own cgroup as the root, unless it came in from elsewhere.
    assert "kubepods" in said("cat", "/proc/1/cgroup", unhooked=True)
    assert "kubepods" not in said("cat", "/proc/self/cgroup", unhooked=True)


@pytest.fixture
def brought(env: Env) -> Iterator[Lab]:
    lab = Lab(minutes=1)
    lab.folder = env.folder / "98-objects"
    lab.folder.mkdir()
    lab.objects.write_text(OBJECTS)
    prepare(lab, env)
    yield lab
    restore(lab, env)


def test_services_that_a_lab_brings_are_served_and_gone_afterwards(brought: Lab, env: Env) -> None:
    other = env.on.cluster_ip("other")
    answer = env.on.pod_called(env.ask(env.on.curl(other)).out)
    assert answer in env.on.backends("other")
    assert env.ask(env.on.curl(env.on.node_port("other"))).exit == 0
    restore(brought, env)
    env.until("nobody serves it", lambda: env.ask(env.on.curl(other)).exit)


def test_a_pod_can_leave_a_labs_services_and_stays_in_those_of_the_workload(brought: Lab, env: Env) -> None:
    serve(brought, env, without=["web-1"])
    other, loop = env.on.cluster_ip("other"), "for i in $(seq 41); do curl -s http://{}/; done | sort -u"
    answers = env.ask(at(env.on.client, "sh", "-c", loop.format(other))).out.splitlines()
    assert {env.on.pod_called(one) for one in answers} == {"web-2", "web-3"}
    answers = env.ask(at(env.on.client, "sh", "-c", loop.format(env.on.cluster_ip()))).out.splitlines()
    assert {env.on.pod_called(one) for one in answers} == {"web-1", "web-2", "web-3"}


def test_a_place_that_is_not_there_is_told_with_those_that_are() -> None:
    done = lab("exec", "w1", "--", "true")
    assert done.returncode == 2
    assert "no node or pod 'w1'; there is: socklb-control-plane, socklb-worker, socklb-worker2, " in done.stderr
