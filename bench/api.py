"""From the Kubernetes API to the kernel: how long it takes from a write until the agent's tables have it.

A real etcd, kube-apiserver and agent, with 30,000 Services of four endpoints each. One EndpointSlice after the other is
patched; a change is timed from before the request is sent to the store in the frontend's row, watched in the mapped
table itself. The figure includes the server's own part; a row of its own says how much that is. Then nothing happens
for a minute, and then the server is stopped for a minute: how many requests does one agent send?
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import urllib3

from bench.agents import CHANGES, address, agent_of, both, changes, start
from bench.figures import Figure
from bench.memory import cpu_seconds, resident
from bench.progress import progress
from rig.control_plane import ControlPlane, agent_token
from rig.objects import SLICES, endpoint_slice, service

ROOT = Path(__file__).parents[1]
PART = "api"
COUNT = 30_000
ENDPOINTS = [f"10.244.1.{n}" for n in range(1, 5)]
AT_ONCE = 100  # etcd takes 128 in a transaction
MINUTE = 60.0  # seconds


def measure() -> list[Figure]:
    """Measure."""
    with (
        tempfile.TemporaryDirectory(prefix="socklb-bench-") as home,
        ControlPlane(programs(), Path(home)) as plane,
        agent_of("api") as agent,
    ):
        plane.apply(ROOT / "deploys" / "kubernetes" / "rbac.yaml")
        with progress(f"{COUNT} Services"):
            store(plane, chain.from_iterable(objects(n, ENDPOINTS) for n in range(COUNT)))
        agent.configure(manifests="", kubeconfig=str(plane.kubeconfig("agent", agent_token(plane))))
        seconds = start(agent)
        process = agent.until(lambda status: status["synced"])["agent"]["pid"]
        memory, cpu = resident(process), cpu_seconds(process)
        with progress(f"{CHANGES} changes by the API"):
            answered, there = changes(
                agent, COUNT, lambda n, change: replace(plane, n, [f"10.244.2.{1 + change % 200}", *ENDPOINTS[1:]])
            )
        with progress("a minute of quiet, and one without a server"):
            quiet, lost = asked_in_quiet(plane), asked_in_an_outage(plane)
    table = f"{COUNT:,} Services with {len(ENDPOINTS)} endpoints each by the Kubernetes API"
    once = partial(Figure, PART, table)
    return [
        once("start of the agent to in sync", "median", "s", seconds),
        once("CPU time of the agent until then", "median", "s", cpu),
        once("memory of the agent (RSS) then", "median", "MB", memory / 1e6),
        *both(PART, table, f"write to kernel, {CHANGES} changes", "ms", there),
        *both(PART, table, "of it until the API server answered", "ms", answered),
        once("requests of the agent in quiet", "median", "/s", quiet / MINUTE),
        once("and in the first minute of an outage", "median", "/s", lost / MINUTE),
    ]


def programs(*more: str) -> Path:
    """Return the folder of the control plane's programs, and of these: they are built from their Go modules, once."""
    names = ("kube-apiserver", "kube-controller-manager", "etcd", "kubectl", *more)
    done = subprocess.run([ROOT / "images" / "programs.sh", *names], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.split()[-1])


def objects(n: int, endpoints: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield Service n and its endpoints, each with the key that the API server keeps it under."""
    more = {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}
    ip: dict[str, Any] = {
        "clusterIP": address(n),
        "clusterIPs": [address(n)],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    policy: dict[str, Any] = {"internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP"}
    one = service(f"s{n}", **ip, **policy)
    one["spec"]["ports"][0] |= {"protocol": "TCP", "targetPort": 8080}
    slice_ = endpoint_slice(f"s{n}-1", f"s{n}", *endpoints)
    slice_["ports"][0] |= {"protocol": "TCP", "name": ""}
    for kind, version, folder, found in (
        ("Service", "v1", "services/specs", one),
        ("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", slice_),
    ):
        name = found["metadata"]["name"]
        metadata = {**found["metadata"], **more, "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name))}
        yield f"/registry/{folder}/default/{name}", {"kind": kind, "apiVersion": version, **found, "metadata": metadata}


def store(plane: ControlPlane, found: Iterator[tuple[str, dict[str, Any]]]) -> None:
    """Write objects into etcd as the API server would: through the server 60,000 take ten minutes."""
    pool = urllib3.PoolManager()
    while batch := list(islice(found, AT_ONCE)):
        puts = [{"requestPut": {"key": _base64(key), "value": _base64(json.dumps(one))}} for key, one in batch]
        url = f"http://127.0.0.1:{plane.etcd_port}/v3/kv/txn"
        answer = pool.request("POST", url, body=json.dumps({"success": puts}))
        if answer.status != 200:
            raise RuntimeError(f"etcd: {answer.status} {answer.data.decode()}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def replace(plane: ControlPlane, n: int, endpoints: Sequence[str]) -> None:
    """Give Service n other endpoints."""
    plane.patch(f"{SLICES}/s{n}-1", {"endpoints": [{"addresses": [one]} for one in endpoints]})


def asked_in_quiet(plane: ControlPlane) -> int:
    """Return the number of the agent's requests in a minute in which nothing happens."""
    before = len(plane.asked())
    time.sleep(MINUTE)
    return len(plane.asked()) - before


def asked_in_an_outage(plane: ControlPlane) -> int:
    """Return the number of its tries in the minute after the server stopped: another listener on its port hangs up."""
    for program in ("kube-controller-manager", "kube-apiserver"):  # the first would try too
        plane.kill(program)
    tries: list[None] = []
    with socket.create_server(("127.0.0.1", plane.port)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                tries.append(None)

        threading.Thread(target=hang_up, daemon=True).start()
        time.sleep(MINUTE)
        listener.shutdown(socket.SHUT_RDWR)
    return len(tries)
