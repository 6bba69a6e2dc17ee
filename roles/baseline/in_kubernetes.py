"""The differences where a kubelet runs: nodes do not see this machine's files, and kubeadm installs kube-proxy."""

from collections.abc import Generator
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from inventory.hosts import short_name
from roles.baseline.facts import OPT, Certified, Holding
from roles.kubectl import KUBECTL, Nodes, cluster
from roles.kubernetes.facts import KUBE_PROXY, KubeProxy
from roles.operations import write_files

FLANNELD = f"{OPT}/flanneld"
OF_AGENT = "proto 83"  # the mark of the agent's routes, by which it recognizes them later


@operation()
def program(source: str, path: str) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Install a program of this machine."""
    digest = sha256(Path(source).read_bytes()).hexdigest()
    if host.get_fact(Holding, conditions={path: f"echo {digest} {path} | sha256sum --check --status"}):
        host.noop(f"{path} is there")
        return
    yield StringCommand(f"mkdir -p {OPT}")
    yield FileUploadCommand(source, f"{path}.new")
    yield StringCommand(f"chmod 755 {path}.new && mv {path}.new {path}")


@operation()
def certified(path: str, user: str, config: str) -> Generator[StringCommand | FileUploadCommand, None, None]:
    """Write a user's kubeconfig, with a certificate of the cluster's authority. An existing one stays."""
    if host.get_fact(Holding, conditions={path: f"[ -s {path} ]"}):
        host.noop(f"{path} is there")
    else:
        yield from write_files({path: cluster().get_fact(Certified, user=user, config=config)}, mode="600")


@operation()
def ipv6_routes() -> Generator[StringCommand, None, None]:
    """Add the agent's IPv6 routes, although it keeps none at present, and remove those for IPv4."""
    others = {name: node for name, node in cluster().get_fact(Nodes).items() if name != short_name(host)}
    wanted = {
        cidr: address
        for node in others.values()
        for cidr in node["pod_cidrs"]
        for address in node["addresses"]
        if ip_network(cidr).version == ip_address(address).version == 6
    }
    has = [f"ip -6 route show {cidr} via {address} | grep -q {cidr}" for cidr, address in wanted.items()]
    no_other = f'[ -z "$(ip -4 route show {OF_AGENT})" ]'
    if host.get_fact(Holding, conditions={"routes": " && ".join([*has, no_other])}):
        host.noop("routes are as wanted")
        return
    set_each = [f"ip -6 route replace {cidr} via {address} {OF_AGENT}" for cidr, address in wanted.items()]
    yield StringCommand(" && ".join([*set_each, f"ip -4 route flush {OF_AGENT}"]))


@operation()
def kube_proxy_installed(config: str) -> Generator[StringCommand, None, None]:
    """Install kube-proxy by kubeadm, and wait until it runs on every node."""
    if host.get_fact(KubeProxy):
        host.noop("kube-proxy is there")
        return
    yield StringCommand(f"kubeadm init phase addon kube-proxy --config {config}")
    yield StringCommand(f"{KUBECTL} rollout status --timeout=120s {KUBE_PROXY}")
