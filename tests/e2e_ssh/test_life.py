"""What happens to a cluster of machines: agents upgraded, machines lost, removed, added, hung and restarted."""

import json

from tests.e2e_ssh.conftest import WORKERS
from tests.support.bare_metal import BareMetal
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import Kubernetes
from tests.support.snapshot import Snapshot, differences, snapshot
from tests.support.waiting import until

W1, W2 = WORKERS


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


def test_no_token_is_in_a_log_or_left_in_a_file(metal: BareMetal, cluster: Kubernetes) -> None:
    """A bootstrap token is six characters, a dot and sixteen: kubeadm's own documentation."""
    form = r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"
    for name, place in cluster.nodes.items():
        found = place.run("grep", "-rEl", form, "/var/log", "/run/socklb", "/etc/kubernetes", "/var/lib/socklb")
        assert found.stdout == "", name
    assert place.run("sh", "-c", f"echo abcdef.0123456789abcdef | grep -Ec '{form}'").stdout == "1\n"  # the control
