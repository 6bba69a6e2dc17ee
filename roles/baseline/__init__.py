"""The ordinary setup: flannel with its UDP backend, and kube-proxy with iptables.

Both follow a real API server. Without a kubelet, it runs beside etcd on the control plane's machine, with the Nodes,
Services and EndpointSlices that the role `workload` wrote, so kube-proxy serves what the agent serves.
"""

import subprocess
from functools import cache
from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from inventory.hosts import short_name
from roles.baseline.facts import AUTHORITY, HOME, RUN, KubeadmVersion, There
from roles.baseline.in_kubernetes import FLANNELD, certified, ipv6_routes, kube_proxy_installed, program
from roles.baseline.operations import Process, account, gone, key, objects_applied, processes, tun_device
from roles.kubectl import applied, cluster
from roles.kubernetes import kube_proxy_gone
from roles.node import plain_addresses
from roles.operations import put_files
from roles.templates import render
from roles.workload import MANIFESTS

HERE = Path(__file__).parent
PROGRAMS = ("kube-apiserver", "etcd", "kube-proxy", "kubectl", "flanneld")
MTU = 1500 - 28  # of a pod: flannel puts an IP and a UDP header before each packet
ETCD, PEERS = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
KEY, TOKENS, RBAC = f"{HOME}/sa.key", f"{HOME}/tokens.csv", f"{HOME}/rbac.yaml"
NETWORK, CONFIG = f"{HOME}/net-conf.json", f"{HOME}/kube-proxy.yaml"
ADMIN, FLANNEL, PROXY = (f"{HOME}/{user}.kubeconfig" for user in ("admin", "flannel", "kube-proxy"))
KUBEADM = f"{HOME}/kubeadm.yaml"
CLIENT, PODS = ("User", "client"), ("Group", "system:serviceaccounts:default")
OBJECTS = (RBAC, *(f"{MANIFESTS}/{name}.yaml" for name in ("nodes", "services", "endpointslices")))


@deploy("control plane")
def control_plane() -> None:
    """Deploy an API server and its etcd."""
    if host != cluster():
        return
    put_files(name="Who may ask the API", files={TOKENS: render(HERE, "tokens.csv")})
    key(name="Key of the API server", path=KEY)
    processes(name="etcd and kube-apiserver", wanted=[_etcd(), _api_server()])


@deploy("objects")
def objects() -> None:
    """Apply what the role `workload` wrote to the API server. The Nodes must exist before kube-proxy and flannel start.

    In Kubernetes they exist already.
    """
    if host != cluster():
        return
    if "kubernetes" in host.groups:
        values = {"version": host.get_fact(KubeadmVersion), "pods": host.data.pod_cidrs}
        config = render(HERE, "kubeadm.yaml", services=host.data.service_cidrs, **values)
        put_files(name="For kubeadm, and rights", files={KUBEADM: config, RBAC: render(HERE, "rbac.yaml", client=PODS)})
        applied(name="Rights", path=RBAC)
        return
    account(name="Administrator's account", path=ADMIN, user="admin")
    put_files(name="Rights", files={RBAC: render(HERE, "rbac.yaml", client=CLIENT)})
    objects_applied(name="Objects", kubectl=f"{_program('kubectl')} --kubeconfig {ADMIN}", files=OBJECTS)


@deploy("flannel")
def flannel() -> None:
    in_kubernetes = "kubernetes" in host.groups
    cidr, *_ = host.data.pod_cidrs if in_kubernetes else host.data.cluster_cidrs  # its UDP backend supports IPv4 only
    if in_kubernetes:
        program(name="The program flanneld", source=_program("flanneld"), path=FLANNELD)
        ipv6_routes(name="IPv6 routes to the other nodes' pods, none of IPv4")
        certified(name="Account", path=FLANNEL, user="flannel", config=KUBEADM)
    else:
        account(name="Account", path=FLANNEL, user="flannel")
    put_files(name="Configuration", files={NETWORK: render(HERE, "net-conf.json", cidr=cidr)})
    tun_device(name="/dev/net/tun")
    processes(name="flanneld", wanted=[_flanneld(FLANNELD if in_kubernetes else _program("flanneld"))])


@deploy("kube-proxy")
def kube_proxy() -> None:
    """Deploy kube-proxy; with a kubelet, as kubeadm installs it."""
    if "kubernetes" in host.groups:
        if host == cluster():
            kube_proxy_installed(name="kube-proxy", config=KUBEADM)
        return
    text = render(HERE, "kube-proxy.yaml", node=short_name(host), account=PROXY, cidrs=host.data.cluster_cidrs)
    account(name="Account", path=PROXY, user="kube-proxy")
    put_files(name="Configuration", files={CONFIG: text})
    processes(name="kube-proxy", wanted=[_kube_proxy()])


@deploy("applications")
def applications() -> None:
    """Give applications that read EndpointSlices themselves an account, which pods see as a file of their node.

    In Kubernetes each pod has one.
    """
    if "kubernetes" not in host.groups:
        account(name="Account", path=f"{HOME}/client.kubeconfig", user="client")


@deploy("baseline gone")
def baseline_gone() -> None:
    in_kubernetes = "kubernetes" in host.groups
    if in_kubernetes and cluster().get_fact(There):
        kube_proxy_gone()
    gone(name="No kube-proxy and no flannel of ours", in_kubernetes=in_kubernetes)


def _etcd() -> Process:
    where = (f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}", f"--listen-peer-urls={PEERS}")
    peers = (f"--initial-advertise-peer-urls={PEERS}", f"--initial-cluster=default={PEERS}")
    words = (_program("etcd"), f"--data-dir={RUN}/etcd-data", *where, *peers, "--unsafe-no-fsync")
    return Process("etcd", words, ready=f"curl -fs {ETCD}/health")


def _api_server() -> Process:
    address = plain_addresses(host)[0]
    words = (
        _program("kube-apiserver"),
        f"--etcd-servers={ETCD}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        "--secure-port=6443",
        f"--cert-dir={RUN}/certificates",
        f"--service-cluster-ip-range={','.join(host.data.service_cidrs)}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={KEY}",
        f"--service-account-signing-key-file={KEY}",
        f"--token-auth-file={TOKENS}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",  # no controller makes accounts here
    )
    ready = f"curl -fs --cacert {AUTHORITY} https://{address}:6443/readyz"
    return Process("kube-apiserver", words, ready=ready, reads=(KEY, TOKENS))


def _flanneld(program: str) -> Process:
    words = (
        program,
        "--kube-subnet-mgr",
        f"--kubeconfig-file={FLANNEL}",
        f"--net-config-path={NETWORK}",
        "--iface=eth0",
        "--ip-masq",
        "--healthz-ip=127.0.0.1",
        "--healthz-port=8286",
    )
    ready = "[ -e /run/flannel/subnet.env ] && ip link show flannel0"
    return Process(
        "flanneld", words, ready=ready, reads=(FLANNEL, NETWORK), environment=f"NODE_NAME={short_name(host)}"
    )


def _kube_proxy() -> Process:
    words = (_program("kube-proxy"), f"--config={CONFIG}")
    ready = "curl -fs http://127.0.0.1:10356/healthz"
    return Process("kube-proxy", words, ready=ready, reads=(PROXY, CONFIG))


def _program(name: str) -> str:
    return f"{_built(('flanneld',) if 'kubernetes' in host.groups else PROGRAMS)}/{name}"


@cache
def _built(programs: tuple[str, ...]) -> str:
    """Return the folder of these programs, built if missing; a local node sees it at the same path."""
    build = HERE.parents[1] / "images" / "programs.sh"
    done = subprocess.run([build, *programs], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
