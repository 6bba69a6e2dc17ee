"""The agent as a DaemonSet: it takes over from the units, serves with the capabilities that it names, and rolls."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventory.group_data.kind import pod_cidrs, services
from inventory.place import Place
from tests.support.cluster import ROOT
from tests.support.hammer import hammering
from tests.support.kubernetes import SEALED_DOCKER, Kubernetes

ADDRESS, PORT = services["web"]["addresses"][0], 80
SYSTEM = ("--namespace", "kube-system")
MANY = 100  # answers that the least of loads has given
# linux/capability.h
BITS = {
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "PERFMON": 38,
    "BPF": 39,
}
# As docs/operations.md says it for container runtimes that do not know CAP_BPF and CAP_PERFMON.
OLD_RUNTIME = ["SYS_ADMIN", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_PTRACE"]


@pytest.fixture(scope="module")
def manifests(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """deploys/kubernetes as a user lays it over: this cluster's addresses, and where its nodes have cgroup v2."""
    subprocess.run([ROOT / "images" / "build.sh", "agent"], check=True)
    load = ["kind", "load", "image-archive", ROOT / "build" / "agent-image.tar", "--name", "socklb"]
    subprocess.run([SEALED_DOCKER, "run", *load], check=True, env=os.environ)
    folder = tmp_path_factory.mktemp("overlay")
    server = kubernetes.addresses("socklb-control-plane")[0]
    networks = json.dumps(pod_cidrs)
    (folder / "socklb.toml").write_text(
        f'api_servers = ["https://{server}:6443"]\npod_cidrs = {networks}\nnode_routes = true\n'
        'bpffs = "/host/bpf"\ncgroup = "/host/cgroup"\n'
    )
    replaced = {"configMapGenerator": [{"name": "socklb", "behavior": "replace", "files": ["socklb.toml"]}]}
    return laid_over(kubernetes, folder, "deploys/kubernetes", "containers", replaced)


@pytest.fixture(scope="module")
def cleanup(kubernetes: Kubernetes, manifests: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """deploys/kubernetes/cleanup, laid over in the same way."""
    folder = tmp_path_factory.mktemp("cleanup")
    return laid_over(kubernetes, folder, "deploys/kubernetes/cleanup", "initContainers", {})


def laid_over(kubernetes: Kubernetes, folder: Path, base: str, kind: str, more: dict[str, Any]) -> str:
    """An overlay for these nodes: where they have cgroup v2, and what an old container runtime knows."""
    cgroup = kubernetes.nodes["socklb-worker"].output("sh", "-c", "findmnt -n -o TARGET -t cgroup2 | head -n 1")
    pod = "/spec/template/spec"
    patch: list[Any] = [{"op": "replace", "path": f"{pod}/volumes/2/hostPath/path", "value": cgroup}]
    if not {BITS["BPF"], BITS["PERFMON"]} <= capabilities(kubernetes.nodes["socklb-worker"], "CapBnd"):
        path = f"{pod}/{kind}/0/securityContext/capabilities/add"
        patch.append({"op": "replace", "path": path, "value": OLD_RUNTIME})
    overlay = {
        "namespace": "kube-system",
        "resources": [os.path.relpath(ROOT / base, folder)],
        "patches": [{"target": {"kind": "DaemonSet"}, "patch": json.dumps(patch)}],
        **more,
    }
    (folder / "kustomization.yaml").write_text(json.dumps(overlay))
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def daemonset(kubernetes: Kubernetes, manifests: str) -> Iterator[None]:
    """In the place of the units, which are back afterwards; a load runs all the way there."""
    try:
        with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
            for node in kubernetes.nodes.values():
                node.output("systemctl", "stop", "socklb-agent")
            kubernetes.kubectl("apply", "--filename", "-", given=manifests)
            rolled_out(kubernetes)
        assert load.failures == {}
        yield
    finally:
        kubernetes.kubectl("delete", "daemonset/socklb", *SYSTEM, "--wait=true", "--ignore-not-found")
        rights = (ROOT / "deploys/kubernetes/rbac.yaml").read_text()  # without the labels, as the deploys apply it
        kubernetes.kubectl("apply", "--filename", "-", given=rights)
        for node in kubernetes.nodes.values():
            node.output("systemctl", "start", "socklb-agent")
            node.output("socklb", "status", "--wait", "50")


def rolled_out(kubernetes: Kubernetes) -> None:
    try:
        kubernetes.rolled_out("daemonset/socklb", *SYSTEM)
    except AssertionError:
        words = ("logs", "--selector", "app.kubernetes.io/name=socklb", *SYSTEM, "--tail=5", "--prefix")
        raise AssertionError(f"{kubernetes.kubectl('get', 'pods', *SYSTEM)}\n{kubernetes.kubectl(*words)}") from None


def capabilities(place: Place, of: str = "CapEff", process: int = 1) -> set[int]:
    """What a process there has, by bit."""
    mask = int(place.output("sh", "-c", f"sed -n 's/^{of}:[[:space:]]*//p' /proc/{process}/status"), 16)
    return {bit for bit in range(64) if mask >> bit & 1}


def status(kubernetes: Kubernetes, pod: Any) -> dict[str, Any]:
    agent = kubernetes.pod(pod["metadata"]["name"], "kube-system")
    return json.loads(agent.output("socklb", "status", "--json"))


def agents(kubernetes: Kubernetes) -> list[Any]:
    return kubernetes.pods("app.kubernetes.io/name=socklb", *SYSTEM)


@pytest.mark.usefixtures("daemonset")
def test_every_node_is_served_by_it(kubernetes: Kubernetes) -> None:
    found = agents(kubernetes)
    assert {pod["spec"]["nodeName"] for pod in found} == set(kubernetes.nodes)
    for pod in found:
        told = status(kubernetes, pod)
        assert told["node"] == pod["spec"]["nodeName"]
        assert told["synced"]
        assert told["problems"] == []
        assert all(hook["effective"] for hook in told["hooks"])
        assert told["source"]["lost_since"] is None


@pytest.mark.usefixtures("daemonset")
def test_it_has_the_capabilities_that_it_names_and_no_others(kubernetes: Kubernetes) -> None:
    pod = agents(kubernetes)[0]
    named = pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    assert named["drop"] == ["ALL"]
    place = kubernetes.pod(pod["metadata"]["name"], "kube-system")
    agent = json.loads(place.output("socklb", "status", "--json"))["agent"]  # the pid namespace is the node's
    found = capabilities(place, process=agent["pid"])
    assert found == {BITS[name] for name in named["add"]}


@pytest.mark.usefixtures("daemonset")
def test_every_node_is_checked_by_one_command(kubernetes: Kubernetes) -> None:
    command = ["env", "KUBECONFIG=/etc/kubernetes/admin.conf", "socklb", "check", "--all-nodes", "--json"]
    done = kubernetes.control_plane.run(*command)
    found = json.loads(done.stdout)
    assert [row for row in found if row["verdict"] == "failed"] == []
    assert done.returncode == 0
    for node in kubernetes.nodes:
        passed = {row["check"] for row in found if row["node"] == node and row["verdict"] == "passed"}
        assert passed >= {"hooks", "agent", "from a pod", "refusal", "from the node", "DNS", "packet path"}


@pytest.mark.usefixtures("daemonset")
def test_it_rolls_under_load(kubernetes: Kubernetes) -> None:
    before = {pod["metadata"]["name"] for pod in agents(kubernetes)}
    with hammering(kubernetes.pod_on(kubernetes.workers[0]), ADDRESS, PORT) as load:
        kubernetes.kubectl("rollout", "restart", "daemonset/socklb", *SYSTEM)
        rolled_out(kubernetes)
    assert not before & {pod["metadata"]["name"] for pod in agents(kubernetes)}
    assert load.failures == {}
    assert sum(load.served.values()) > MANY


@pytest.mark.usefixtures("daemonset")
def test_a_change_arrives(kubernetes: Kubernetes) -> None:
    name = "of-the-daemonset"
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    client = kubernetes.pod_on(kubernetes.workers[1])
    with kubernetes.objects(document):
        address = kubernetes.get("service", name)["spec"]["clusterIP"]
        client.output("curl", "-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", f"http://{address}/")
    assert client.run("curl", "-s", "--max-time", "3", f"http://{address}/").returncode != 0


@pytest.mark.usefixtures("daemonset")
def test_cleanup_leaves_nothing_of_it_on_any_node(kubernetes: Kubernetes, cleanup: str) -> None:
    """Last: from here on no node is served until the units are started again."""
    kubernetes.kubectl("delete", "daemonset/socklb", *SYSTEM, "--wait=true", "--cascade=foreground")
    assert {name: left_on(place) for name, place in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 3)
    kubernetes.kubectl("apply", "--filename", "-", given=cleanup)
    try:
        kubernetes.rolled_out("daemonset/socklb-cleanup", *SYSTEM)
        assert {name: left_on(place) for name, place in kubernetes.nodes.items()} == dict.fromkeys(kubernetes.nodes, 0)
    finally:
        kubernetes.kubectl("delete", "--filename", "-", "--wait=true", given=cleanup)


# Asks the kernel how many programs eth0 has at its ingress (BPF_PROG_QUERY, BPF_TCX_INGRESS): the bpftool and tc of
# Debian 12 are too old for that.
AT_UPLINK = """
import ctypes, os, socket, struct, sys
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
asked = ctypes.create_string_buffer(struct.pack("=IIIIQI", socket.if_nametoindex("eth0"), 46, 0, 0, 0, 0), 64)
assert ctypes.CDLL(None).syscall(number, 16, asked, 64) == 0
sys.exit(not struct.unpack_from("=I", asked, 24)[0])
"""


def left_on(place: Place) -> int:
    """How many of the three are there: pins, programs at a device, routes of the agent's protocol number."""
    looks = (
        "find /sys/fs/bpf/socklb -type f | grep -q .",
        f"python3 -Ic '{AT_UPLINK}'",
        "ip route show proto 83 | grep -q .",
    )
    return sum(place.run("sh", "-c", look).returncode == 0 for look in looks)
