"""A new version of Kubernetes on machines over SSH: what must hold before, and the steps of one machine."""

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host
from pyinfra.context import inventory as hosts
from pyinfra.operations import server, systemd

from inventory.hosts import short_name
from roles.agent.operations import check
from roles.container_runtime.offline import image_archive, offline
from roles.control_plane import images
from roles.control_plane.facts import ApiAnswers, ApiVersion
from roles.control_plane.operations import until_it_answers
from roles.kubectl import Nodes, cluster
from roles.kubernetes.operations import node_is_ready
from roles.kubernetes_packages import kubernetes_packages, obstacle
from roles.kubernetes_packages.versions import fits, wanted
from roles.upgrade.facts import KubeadmHasEnded
from roles.upgrade.judging import objections, pending
from roles.upgrade.operations import done, drained, kubeadm_upgrade, registered, uncordoned

PATIENCE = 60  # seconds for an API server that an interrupted upgrade has just restarted
SETTLED = 20  # seconds: a new kubelet takes some until it restarts the containers that an older one has made


def behind() -> list[str]:
    """Return the names of the hosts that do not have the wanted version yet; control planes come first.

    Raises:
        OperationError: the cluster may not be upgraded so. Nothing was changed.
    """
    everyone = hosts.get_group("nodes")
    if away := [short_name(one) for one in everyone if one not in hosts.get_active_hosts()]:
        _refuse(f"{', '.join(away)} not in reach, or left out by --limit. Next: start it; the same command for all")
    said, version = str(host.data.kubernetes_version), wanted()
    if not fits(version, said):
        _refuse(f'{host.data.source} has {version}, and kubernetes_version is "{said}". Next: make them agree')
    if found := obstacle():
        _refuse(f"{short_name(host)}: {found[0]}. Next: {found[1]}")
    for one in (host, cluster()):
        if not one.get_fact(KubeadmHasEnded, patience=10 * PATIENCE):
            _refuse(f"on {short_name(one)} a kubeadm is still at work. Next: pgrep -a kubeadm, there; end it")
    if not cluster().get_fact(ApiAnswers, patience=PATIENCE):
        _refuse(f"the API server of {short_name(cluster())} does not answer. Next: journalctl -u kubelet -n 50, there")
    api, nodes = cluster().get_fact(ApiVersion), cluster().get_fact(Nodes)
    names = {short_name(one): one.name for one in everyone}
    for objection in objections(version, api, nodes, [*names]):
        _refuse(objection)
    planes = [short_name(one) for one in hosts.get_group("control_plane")]
    return [names[name] for name in pending(version, api, nodes, planes, [*names])]


def _refuse(why: str) -> None:
    raise OperationError(f"Kubernetes is not upgraded, and nothing was changed: {why}")


@deploy("images")
def new_images() -> None:
    """Bring the new images to this machine before anything is upgraded: kubeadm runs a pod of them on some Node."""
    if folder := offline():
        image_archive(folder, "node")
    if host in hosts.get_group("control_plane"):
        images()


@deploy("control plane")
def control_plane_upgraded() -> None:
    kubernetes_packages(programs=["kubeadm"], latest=True)
    kubeadm_upgrade(name="kubeadm upgrade", first=host == hosts.get_group("control_plane")[0])
    server.shell(name="Its API server answers", commands=[until_it_answers()])


@deploy("node")
def node_upgraded() -> None:
    """Replace the kubelet while no pods of Deployments are on the machine, and go on once it serves."""
    by, plane = cluster().name, host in hosts.get_group("control_plane")
    if not plane:
        kubernetes_packages(programs=["kubeadm"], latest=True)
        kubeadm_upgrade(name="kubeadm upgrade", first=False)
    drained(name="Drained", by=by)
    systemd.service(name="The old kubelet ends", service="kubelet", running=False)  # a running file cannot be written
    kubernetes_packages(programs=["kubelet", "kubectl"], latest=True)
    systemd.service(name="The new kubelet", service="kubelet", restarted=True, daemon_reload=True)
    if plane:
        server.shell(name="Its API server answers again", commands=[until_it_answers(SETTLED)])
    registered(name="The API has heard of it")
    node_is_ready(name="The node is Ready")
    uncordoned(name="Pods may come back", by=by)
    check(name="It serves", tries=30)
    done(name="It is done", by=by)
