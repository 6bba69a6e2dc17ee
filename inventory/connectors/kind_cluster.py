"""A cluster of the program kind: https://kind.sigs.k8s.io.

    ensure(Wanted("socklb", …), adopt=False)     make it, find it, or make it again if a run was interrupted
    remove("socklb")                             also if nothing is there

Every node that we make has a mark from the beginning: a mount of /dev/null. A cluster without it belongs to somebody
else, and is not touched. What runs in the cluster is up to the deploys.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inventory.connectors import this_machine
from inventory.connectors.this_machine import NodeError

MARK = "/kind/made-by-socklb"
COMPLETE = "/kind/socklb-complete"  # written when kind has finished: without it, the cluster is incomplete
LABEL = "io.x-k8s.kind.cluster"
CACHE = Path(os.environ.get("SOCKLB_CACHE") or Path.home() / ".cache/socklb")

# Error messages of programs, and the remedies.
REMEDIES = {
    "no space left on device": "make room where docker keeps its data: docker system df, docker system prune",
    "port is already allocated": "another program has that port; choose another one: --data kind_api_port=6444",
    "address already in use": "another program has that port; choose another one: --data kind_api_port=6444",
    "permission denied while trying to connect": "run the same command as a user who may use docker, such as root",
}


class ClusterError(NodeError):
    """The cluster is not available."""


@dataclass(frozen=True)
class Wanted:
    """The cluster that should be there."""

    name: str
    image: str
    workers: int
    pod_cidrs: Sequence[str]
    service_cidrs: Sequence[str]
    kube_proxy_mode: str = "none"
    api_port: int = 0

    @property
    def control_plane(self) -> str:
        return f"{self.name}-control-plane"


class Container(NamedTuple):
    """A node of the cluster, as docker shows it."""

    name: str
    running: bool
    ours: bool


def ensure(wanted: Wanted, adopt: bool) -> None:
    """Make sure that the cluster runs. The caller holds this_machine.lock().

    Raises:
        ClusterError: it cannot be made, or it belongs to somebody else and `adopt` is False.
    """
    present = containers(wanted.name)
    if not adopt:
        refuse_foreign(wanted.name, present)
    if present:
        _start(present)
    if present and not adopt and not _complete(wanted):
        print(f"The cluster {wanted.name} was left half made: making it anew", file=sys.stderr)
        _delete(wanted.name)
        present = []
    if not present:
        _create(wanted)
    elif len(present) != wanted.workers + 1:
        raise ClusterError(
            f"the cluster {wanted.name} has {len(present)} nodes, and {wanted.workers + 1} are wanted; kind cannot "
            "add or remove any. Next: pyinfra inventory/kind.py deploys/teardown.py, then the same command again"
        )


def removable(name: str) -> bool:
    """Return whether remove() has anything to do.

    Raises:
        ClusterError: somebody else made it, whatever was adopted, or there is no kind to remove it with.
    """
    present = containers(name)
    if not present:
        return False
    refuse_foreign(name, present, remedy=f"if you mean it: kind delete cluster --name {name}")
    kind_program()
    return True


def remove(name: str) -> None:
    """Remove the cluster, complete or not."""
    with this_machine.lock():
        if removable(name):
            _delete(name)


def containers(cluster: str) -> list[Container]:
    ids = docker("container", "ls", "--all", "--quiet", "--filter", f"label={LABEL}={cluster}").split()
    if not ids:
        return []
    found: list[dict[str, Any]] = json.loads(docker("container", "inspect", *ids))
    return [
        Container(
            one["Name"].removeprefix("/"),
            one["State"]["Running"],
            any(mount["Destination"] == MARK for mount in one["Mounts"]),
        )
        for one in found
    ]


def refuse_foreign(cluster: str, present: Sequence[Container], remedy: str = "") -> None:
    foreign = sorted(container.name for container in present if not container.ours)
    if foreign:
        remedy = remedy or (
            f"remove it (kind delete cluster --name {cluster}), choose another name in inventory/group_data/kind.py, "
            "or let the deploys change it as it is: --data adopt=yes"
        )
        raise ClusterError(
            f"the kind cluster {cluster} was made by somebody else ({', '.join(foreign)}). Next: {remedy}"
        )


def docker(*words: str) -> str:
    """Return docker's output; a failure is one message with the remedy."""
    if not shutil.which("docker"):
        raise ClusterError(
            "there is no docker on PATH. Next: install docker; or one that is sealed off, of our own: images/README.md"
        )
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()
        remedy = _remedy(said) or "start docker, or set DOCKER_HOST (images/README.md has a docker of our own)"
        raise ClusterError(f"docker {words[0]} failed: {said}. Next: {remedy}")
    return done.stdout


def kind_program() -> str:
    """Return the program kind: the one on PATH, or the one that images/programs.sh built."""
    built = sorted(CACHE.glob("kubernetes-*/bin/kind"))
    found = shutil.which("kind") or (str(built[-1]) if built else None)
    if not found:
        raise ClusterError(
            f"there is no program kind, neither on PATH nor below {CACHE}. Next: images/programs.sh kind, or a release "
            "of kind 0.31 or newer from https://kind.sigs.k8s.io"
        )
    return found


def config(wanted: Wanted) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False
    )
    roles = ["control-plane", *["worker"] * wanted.workers]
    return environment.get_template("kind.yaml.j2").render(vars(wanted) | {"roles": roles, "mark": MARK})


def _create(wanted: Wanted) -> None:
    kind = kind_program()
    _refuse_to_pull(wanted.image)
    _run_kind([kind, "create", "cluster", "--image", wanted.image, "--config", "-"], given=config(wanted))
    docker("exec", wanted.control_plane, "touch", COMPLETE)


def _delete(name: str) -> None:
    _run_kind([kind_program(), "delete", "cluster", "--name", name])


def _complete(wanted: Wanted) -> bool:
    argv = ["docker", "exec", wanted.control_plane, "test", "-e", COMPLETE]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _start(present: Sequence[Container]) -> None:
    """Start the nodes: after a reboot docker may have left them stopped; kubelet and pods come back by themselves."""
    stopped = [container.name for container in present if not container.running]
    if stopped:
        print(f"Starting {', '.join(stopped)}", file=sys.stderr)
        docker("container", "start", *stopped)


def _refuse_to_pull(image: str) -> None:
    """Fail if the image is missing: kind would pull it, which takes minutes without any output."""
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if found.returncode:
        remedy = "make kind-image" if image.startswith("socklb/") else f"docker pull {image}"
        raise ClusterError(f"docker has no image {image}. Next: {remedy}")


def _run_kind(argv: list[str], given: str = "") -> None:
    """Run kind and show its output as it comes."""
    said: deque[str] = deque(maxlen=200)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as kind:
        assert kind.stdin
        assert kind.stdout
        with kind.stdin:
            kind.stdin.write(given)
        for line in kind.stdout:
            said.append(line)
            print(line, end="", file=sys.stderr, flush=True)
    if kind.returncode:
        remedy = _remedy("".join(said)) or "see what kind said above; the same command again begins anew"
        raise ClusterError(f"kind {argv[1]} cluster failed with exit code {kind.returncode}. Next: {remedy}")


def _remedy(said: str) -> str:
    return next((remedy for words, remedy in REMEDIES.items() if words in said), "")
