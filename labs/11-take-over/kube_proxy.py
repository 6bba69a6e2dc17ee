"""kube-proxy on a node: a process that a pid file names, or, where there is a kubelet, a DaemonSet."""

from labs.engine.env import Env
from labs.engine.errors import CannotRunError
from labs.engine.model import Commands
from labs.engine.places import at
from labs.engine.scenario import Scenario

PROXY, PIDFILE = "/run/baseline/kube-proxy", "/run/baseline/kube-proxy.pid"
# Where kube-proxy is a DaemonSet: its own program, out of its image.
IMAGE = "$(ctr --namespace k8s.io images list --quiet name~=kube-proxy: | head -n 1)"
CLEANUP = f"ctr --namespace k8s.io run --rm --privileged --net-host {IMAGE} lab-cleanup kube-proxy --cleanup"
HEALTHY = ("curl", "-fs", "http://127.0.0.1:10356/healthz")
ADMIN, OBJECTS = "/etc/baseline/admin.kubeconfig", "/etc/socklb/manifests/lab-11.yaml"
APPLY = f"[ ! -e {ADMIN} ] || $(dirname $(readlink {PROXY}))/kubectl --kubeconfig {ADMIN} apply --filename {OBJECTS}"


def serves(env: Env) -> bool:
    return not any(env.ask(at(node, *HEALTHY)).exit for node in env.on.nodes)


def knows_the_services(env: Env, node: str) -> None:
    """Tell the API server of the lab's objects where they do not go there, and keep the name of the program."""
    if env.on.cluster.control_plane:
        return
    env.ask(at(node, "sh", "-c", f"ln -sf $(readlink /proc/$(cat {PIDFILE})/exe) {PROXY}"))
    if (applied := env.ask(at(node, "sh", "-c", APPLY))).exit:
        raise CannotRunError(f"kube-proxy cannot be told of the lab's Service: {applied.err.strip()}")


def stop(on: Scenario) -> Commands:
    if on.cluster.control_plane:
        of_kube_proxy = ("daemonset", "kube-proxy", "--namespace", "kube-system")
        yield on.kubectl("delete", *of_kube_proxy, "--cascade=foreground", seconds=60)
    else:
        yield from each_node(on, "start-stop-daemon", "--stop", "--pidfile", PIDFILE, "--retry", "5")


def remove_rules(on: Scenario) -> Commands:
    words = ("sh", "-c", CLEANUP) if on.cluster.control_plane else (PROXY, "--cleanup")
    for node in on.nodes:
        yield at(node, *words, seconds=60)


def each_node(on: Scenario, *words: str) -> Commands:
    for node in on.nodes:
        yield at(node, *words)
