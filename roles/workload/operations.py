"""Servers in pods, and the EndpointSlices for them."""

import shlex
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.facts import Text
from roles.operations import write_files
from roles.pods.facts import Pods
from roles.workload.facts import FOLDER, Serving
from roles.workload.slices import Endpoint, endpoint_slices

# Both become daemons once they listen: when the command returns, they serve.
SERVERS = {"web": "nginx -c {config}", "dns": "dnsmasq --conf-file={config}"}


@operation()
def servers(pods: Mapping[str, str]) -> Generator[StringCommand, None, None]:
    """Make sure that the server of each pod (name to kind) runs with its present configuration."""
    serving = host.get_fact(Serving, pods=list(pods))
    starts = [_restart(pod, kind) for pod, kind in pods.items() if pod not in serving]
    if starts:
        yield StringCommand(" && ".join(starts))
    else:
        host.noop(f"servers run: {', '.join(pods)}")


def _restart(pod: str, kind: str) -> str:
    pidfile = f"/run/socklb/{pod}.pid"
    command = SERVERS[kind].format(config=f"{FOLDER}/{pod}.conf")
    # Without --remove-pidfile a stale file stays; the server writes its own over it.
    stop = f"start-stop-daemon --stop --quiet --oknodo --retry TERM/3/KILL/1 --pidfile {pidfile}"
    return f"{stop} && {shlex.join(['pod', 'exec', pod, '--', *command.split()])}"


@operation()
def endpoint_slices_present(
    path: str, services: Mapping[str, Any]
) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Write the slices from the pods of all nodes, which must exist by now: see barrier()."""
    endpoints = [
        Endpoint(short_name(node), pod["name"], node.data.pods[pod["name"]], tuple(pod["addresses"]))
        for node in hosts.get_group("nodes")
        for pod in node.get_fact(Pods).values()
        if pod["name"] in node.data.pods
    ]
    text = endpoint_slices(services, endpoints, before=host.get_fact(Text, path=path))
    yield from write_files({path: text})
