"""The kind cluster in tests: kubectl, commands in pods and on nodes, objects for the length of a test.

kubernetes.kubectl("get", "nodes")
kubernetes.pod_on("socklb-worker").output("curl", "-s", url)
with kubernetes.objects(DAEMON_SET): …
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from inventory import hosts
from inventory.connectors.kind_cluster import LABEL, MARK, docker
from inventory.group_data.kind import kind_image
from inventory.place import Entry, Place, Text, machine
from tests.support.cluster import ROOT, pyinfra

ROLLOUT = 180  # what kubectl waits for at most
SEALED_DOCKER = ROOT / "images" / "sealed-docker.sh"
KUBECTL = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]


class Kubernetes:
    """The cluster of inventory/kind.py, or of another inventory by its name or file."""

    def __init__(self, name: str = "kind") -> None:
        inventory = hosts.load(hosts.path(name))
        found = {hosts.short_name(host): host for host in inventory.get_group("nodes")}
        self.nodes = {name: machine(name, host) for name, host in found.items()}
        self.control_plane = self.nodes[hosts.short_name(inventory.get_group("control_plane")[0])]

    @property
    def workers(self) -> list[str]:
        return [name for name, place in self.nodes.items() if place is not self.control_plane]

    def kubectl(self, *words: str, given: str = "") -> str:
        return self.control_plane.output(*KUBECTL, *words, given=given, timeout=ROLLOUT + 20)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def pod(self, name: str, namespace: str = "default") -> Place:
        enter = (*KUBECTL, "exec", "-i", "-n", namespace, name, "--")
        return Place(name, Entry(self.control_plane.entry.host, enter))

    def pods(self, selector: str, *more: str) -> list[Any]:
        """The pods that are not about to go, oldest first."""
        found = self.get("pods", "--selector", selector, "--sort-by=.metadata.creationTimestamp", *more)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod_on(self, node: str, selector: str = "app=client") -> Place:
        pod, *_ = self.pods(selector, f"--field-selector=spec.nodeName={node}")
        return self.pod(pod["metadata"]["name"])

    def process_of(self, node: str, unit: str) -> Place:
        """A process of the node in the cgroup of a systemd unit, such as kubelet.service."""
        mount = self.nodes[node].output("sh", "-c", "findmnt -n -o TARGET -t cgroup2 | head -n 1")
        join = f'echo 0 >{mount}/system.slice/{unit}/cgroup.procs && exec "$@"'
        return Place(f"{unit} of {node}", Entry(self.nodes[node].entry.host, ("sh", "-c", join, "sh")))

    def addresses(self, node: str) -> list[str]:
        """The node's addresses, IPv4 before IPv6."""
        listed = self.get("node", node)["status"]["addresses"]
        return [one["address"] for one in listed if one["type"] == "InternalIP"]

    def apply(self, *documents: Any) -> None:
        self.kubectl("apply", "--filename", "-", given=yaml.safe_dump_all(documents))

    def rolled_out(self, name: str, *more: str) -> None:
        self.kubectl("rollout", "status", name, *more, f"--timeout={ROLLOUT}s")

    @contextlib.contextmanager
    def objects(self, *documents: Any) -> Iterator[None]:
        """These objects while the block runs."""
        self.apply(*documents)
        try:
            yield
        finally:
            text = yaml.safe_dump_all(documents)
            self.kubectl("delete", "--wait=true", "--ignore-not-found", "--filename", "-", given=text)


def sealed_environment() -> dict[str, str]:
    """Start our own docker, from which nothing leads out; give what a shell must set to use it."""
    sealed("start")
    script = f"{sealed('env')}\nenv -0"
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    pairs = dict(line.partition("=")[::2] for line in told.split("\0") if line)
    return {name: pairs[name] for name in ("DOCKER_HOST", "PATH")}


def sealed(verb: str) -> str:
    done = subprocess.run([SEALED_DOCKER, verb], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"sealed-docker.sh {verb}: {done.stderr}"
    return done.stdout


def deploy(name: str, *data: str) -> dict[str, Any]:
    """Run deploys/<name>.py on inventory/kind.py to success and give pyinfra's results."""
    done = kind_deploy(name, *data)
    assert done.returncode == 0, f"deploys/{name}.py: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    results: dict[str, Any] = json.loads(done.stdout)["results"]
    assert results["totals"]["hosts"]
    return results


def kind_deploy(name: str, *data: str, limit: str = "*") -> Text:
    """The same, whatever comes of it. Each of `data` is `key=value`; `limit`: the hosts or group it is for."""
    words = ["--limit", limit, *(word for pair in data for word in ("--data", pair))]
    options = ["-y", "--json", "--fail-percent", "0", *words]
    return pyinfra("inventory/kind.py", f"deploys/{name}.py", *options, timeout=600)


def half_made(cluster: str) -> str:
    """Leave what a killed kind leaves, for it makes the containers before all else. Gives the id of the container."""
    labels = (f"{LABEL}={cluster}", "io.x-k8s.kind.role=control-plane")
    marked = [word for label in labels for word in ("--label", label)]
    stays = ("--volume", f"/dev/null:{MARK}:ro", "--entrypoint", "sleep", kind_image, "infinity")
    return docker("run", "--detach", "--name", f"{cluster}-control-plane", *marked, *stays).strip()


def remains() -> list[str]:
    """What of docker and the cluster can be seen on this machine."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = [Path("/run/socklb-docker"), Path("/run/netns/socklb-docker")]
    cgroups = subprocess.run(
        ["find", "/sys/fs/cgroup", "-type", "d", "-name", "socklb-docker"], capture_output=True, text=True, check=False
    )
    ours = [str(place) for place in places if place.exists()]
    return sorted([*ours, *(mount for mount in mounts if "socklb-docker" in mount), *cgroups.stdout.split()])
