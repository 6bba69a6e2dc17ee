"""Under load from 8 clients in a pod: whatever happens to backends, nodes and agents, no connect fails."""

from inventory.group_data.kind import services
from roles.pods.operations import CONFLIST
from tests.support.cluster import changes
from tests.support.hammer import hammering
from tests.support.kubernetes import ROLLOUT, Kubernetes, deploy

ADDRESS, PORT = services["web"]["addresses"][0], 80
MANY = 100  # answers that the least of loads has given


def test_rolling_update(kubernetes: Kubernetes) -> None:
    before = {pod["metadata"]["name"] for pod in kubernetes.pods("app=web")}
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        kubernetes.kubectl("rollout", "restart", "deployment/web")
        kubernetes.rolled_out("deployment/web")
    after = {pod["metadata"]["name"] for pod in kubernetes.pods("app=web")}
    assert load.failures == {}
    assert sum(load.served.values()) > MANY
    assert not before & after
    assert after <= load.served.keys(), "the new ones have served"


def test_agents_killed(kubernetes: Kubernetes) -> None:
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        for _ in range(3):
            for node in kubernetes.nodes.values():
                node.output("systemctl", "kill", "--signal=KILL", "socklb-agent")
            for node in kubernetes.nodes.values():
                node.output("socklb", "status", "--wait", "50")
    assert load.failures == {}
    assert sum(load.served.values()) > MANY


def test_agents_upgraded_by_the_deploy(kubernetes: Kubernetes) -> None:
    for node in kubernetes.nodes.values():
        node.output("sh", "-c", "echo an older one >/opt/socklb/.bundle")
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        results = deploy("agent")
    assert changes(results) == ["agent | Bundle", "agent | Service", "It serves"] * len(kubernetes.nodes)  # one by one
    assert load.failures == {}
    assert sum(load.served.values()) > MANY


def test_node_drained_removed_and_added_as_a_new_one(kubernetes: Kubernetes) -> None:
    """The machine is emptied and joins as kind had it join. Its pod CIDRs are others; deploy and routes follow them."""
    here, there = kubernetes.workers
    machine = kubernetes.nodes[there]
    before = kubernetes.get("node", there)
    with hammering(kubernetes.pod_on(here), ADDRESS, PORT) as load:
        kubernetes.kubectl("drain", there, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        kubernetes.rolled_out("deployment/web")
        assert not kubernetes.pods("app=web", f"--field-selector=spec.nodeName={there}")
        kubernetes.kubectl("delete", "node", there)
        machine.output("kubeadm", "reset", "--force", timeout=ROLLOUT)
        machine.output("rm", CONFLIST)  # kubeadm leaves that to its user
        its_pods = ("pods", "--all-namespaces", f"--field-selector=spec.nodeName={there}")
        kubernetes.kubectl("delete", "--force", *its_pods)  # as Kubernetes does it a minute later
        machine.output("kubeadm", "join", "--config", "/kind/kubeadm.conf", "--skip-phases=preflight", timeout=ROLLOUT)
        deploy("cluster")
        kubernetes.kubectl("rollout", "restart", "deployment/web", "deployment/dns")
        kubernetes.rolled_out("deployment/web")
        kubernetes.rolled_out("deployment/dns")
        (server, *_) = kubernetes.pods("app=web", f"--field-selector=spec.nodeName={there}")
        name = server["metadata"]["name"]
        assert kubernetes.pod_on(there).output("curl", "-sS", "--max-time", "5", f"http://{ADDRESS}:{PORT}/")
    after = kubernetes.get("node", there)
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert before["spec"]["podCIDRs"] != after["spec"]["podCIDRs"]
    assert load.failures == {}
    assert sum(load.served.values()) > MANY
    assert name in load.served, "its pods have served"
