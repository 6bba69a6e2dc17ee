"""What happens to a cluster of machines: agents upgraded, machines lost, removed, added, hung and restarted."""

import json
import re

from tests.e2e_ssh.conftest import WORKERS
from tests.support.bare_metal import BareMetal
from tests.support.cluster import ROOT, changes
from tests.support.hammer import hammering
from tests.support.kubernetes import KUBECTL, Kubernetes
from tests.support.snapshot import Snapshot, differences, snapshot
from tests.support.waiting import until

W1, W2 = WORKERS
BARE_METAL = ROOT / "docs" / "bare-metal.md"


def node_ready(cluster: Kubernetes, name: str) -> str:
    conditions = cluster.get("node", name)["status"]["conditions"]
    return next(one["status"] for one in conditions if one["type"] == "Ready")


def started(cluster: Kubernetes, node: str) -> str:
    return cluster.nodes[node].output("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "socklb-agent")


def test_agents_are_upgraded_host_by_host_under_load_and_no_connect_fails(
    metal: BareMetal, cluster: Kubernetes
) -> None:
    before = {name: started(cluster, name) for name in cluster.nodes}
    for place in cluster.nodes.values():
        place.output("sh", "-c", "echo an older one >/opt/socklb/.bundle")
    with hammering(cluster.pod_on(W1), "10.96.0.80", 80) as load:
        metal.deploy("agent")
    assert load.failures == {}
    assert sum(load.served.values()) > 100
    assert all(started(cluster, name) != before[name] for name in cluster.nodes)
    assert set(changes(metal.deploy("agent"))) == {"It serves"}  # which asks, and changes nothing


def test_with_one_machine_away_the_others_go_on_and_it_is_told_which_and_what_next(
    metal: BareMetal, cluster: Kubernetes
) -> None:
    metal.machines[W2].power_off()
    try:
        cluster.nodes[W1].output("sh", "-c", "echo '# mine' >>/etc/socklb/socklb.toml")
        done = metal.run("cluster")
        assert done.returncode != 0
        assert W2 in done.stderr
        assert "Next:" in done.stderr
        assert "Traceback" not in done.stderr
        assert "# mine" not in cluster.nodes[W1].output("cat", "/etc/socklb/socklb.toml")
    finally:
        metal.machines[W2].power_on()
    until(lambda: node_ready(cluster, W2) == "True", 180, pause=1)
    metal.deploy("cluster")
    assert changes(metal.deploy("cluster")) == []


def test_after_a_reboot_a_machine_serves_without_any_deploy(metal: BareMetal, cluster: Kubernetes) -> None:
    metal.machines[W1].reboot()
    place = cluster.nodes[W1]
    until(lambda: place.run("socklb", "check").returncode == 0, 180, pause=1)
    until(lambda: node_ready(cluster, W1) == "True", 180, pause=1)
    status = json.loads(place.output("socklb", "status", "--json"))
    assert all(hook["effective"] for hook in status["hooks"])


def test_a_worker_is_drained_removed_and_added_again(
    metal: BareMetal, cluster: Kubernetes, bare: dict[str, Snapshot]
) -> None:
    metal.deploy("teardown", "--limit", W2)
    assert W2 not in {node["metadata"]["name"] for node in cluster.get("nodes")["items"]}
    assert differences(bare[W2], snapshot(metal.machines[W2])) == []
    metal.deploy("cluster")
    assert node_ready(cluster, W2) == "True"
    assert cluster.nodes[W2].run("socklb", "check").returncode == 0


def test_what_etcd_had_is_brought_back_as_the_documentation_says(metal: BareMetal, cluster: Kubernetes) -> None:
    plane = cluster.control_plane
    cluster.kubectl("create", "configmap", "before")
    for _ in range(6):
        metal.deploy("snapshot")
    assert len(plane.output("sh", "-c", "ls /var/lib/socklb/etcd/*.db").splitlines()) == 5
    assert plane.output("stat", "-c", "%a", "/var/lib/socklb/etcd") == "700"
    cluster.kubectl("create", "configmap", "after")
    (restore,) = re.findall(r"as root:\n\n```sh\n(snapshot=.+?)```", BARE_METAL.read_text(), re.DOTALL)
    # From the node: what kubectl runs in a pod ends with the API server.
    with hammering(cluster.nodes[W1], "10.96.0.80", 80) as load:
        plane.output("sh", "-euc", restore, timeout=300)
        until(lambda: plane.run(*KUBECTL, "get", "--raw", "/readyz").returncode == 0, 180, pause=1)
    assert load.failures == {}
    names = {one["metadata"]["name"] for one in cluster.get("configmaps")["items"]}
    assert {"before", "after"} & names == {"before"}
    until(lambda: all(node_ready(cluster, name) == "True" for name in cluster.nodes), 180, pause=1)
    cluster.kubectl("scale", "deployment/web", "--replicas=4")  # what is changed from now on reaches the agents
    cluster.rolled_out("deployment/web")
    until(lambda: serving(cluster) == 4, 60, pause=1)
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    until(lambda: serving(cluster) == 3, 60, pause=1)
    cluster.kubectl("delete", "configmap", "before")
    plane.output("rm", "-r", "/var/lib/etcd.before", "/etc/kubernetes/stopped")


def serving(cluster: Kubernetes) -> int:
    """How many pods of `web` answer on w1, of many requests."""
    many = "for i in $(seq 60); do curl -sS --max-time 5 http://10.96.0.80/; done"
    return len({*cluster.pod_on(W1).output("sh", "-c", many).splitlines()})


def test_no_token_is_in_a_log_or_left_in_a_file(metal: BareMetal, cluster: Kubernetes) -> None:
    """A bootstrap token is six characters, a dot and sixteen: kubeadm's own documentation."""
    form = r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"
    for name, place in cluster.nodes.items():
        found = place.run("grep", "-rEl", form, "/var/log", "/run/socklb", "/etc/kubernetes", "/var/lib/socklb/machine")
        assert found.stdout == "", name
    assert place.run("sh", "-c", f"echo abcdef.0123456789abcdef | grep -Ec '{form}'").stdout == "1\n"  # the control
