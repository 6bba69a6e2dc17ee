"""The servers in the pods of `web`: how one crashes, how one shuts down in order, and how all serve again.

    yield servers.end(on, "web-2")                         in an act: it crashes, and no EndpointSlice says so
    yield from servers.not_ready(on, FILE, "web-2")        the EndpointSlices say so
    yield from servers.leave(on, FILE, "web-2", "shop")    it shuts down in order
    servers.serve_again(env)                               in reset(): every pod of `web` has its server

If a kubelet runs, it and the cluster's controllers write the EndpointSlices, and a deleted pod is replaced by another
one. On the local cluster the reader edits them, in the file from which nodes read the lab's objects.
"""

from labs.engine.env import Env
from labs.engine.model import Commands
from labs.engine.places import Command, at
from labs.engine.scenario import WEB, Scenario

CONFIG = "/run/web.conf"  # of a server in a pod of Kubernetes
_WRITTEN = f"sed s/NAME/$HOSTNAME/g /etc/socklb/workload/web.conf >{CONFIG}"
_READ = f"nginx -c {CONFIG} -s reload"
_UNREADY, _TERMINATING = "s/ready: true/ready: false/", "s/terminating: false/terminating: true/"


def end(on: Scenario, pod: str) -> Command:
    """End a server; if a kubelet would start it again at once, make it stop listening instead."""
    if on.cluster.control_plane:
        return at(pod, "sh", "-c", f"sed -i /listen/d {CONFIG} && {_READ}")
    return at(pod, "sh", "-c", f"kill $(cat /run/socklb/{pod}.pid)")


def not_ready(on: Scenario, file: str, pod: str) -> Commands:
    """Mark the pod as not ready in the EndpointSlices; if it is probed, wait for that."""
    if on.cluster.control_plane:
        name = on.cluster.pods[pod].itself
        yield on.kubectl("wait", "--for=condition=Ready=false", f"pod/{name}", "--timeout=20s", seconds=30)
    else:
        yield from _say(on, file, pod, _UNREADY)


def leave(on: Scenario, file: str, pod: str, service: str) -> Commands:
    """Mark the pod as terminating in the EndpointSlices of a Service, and end it then."""
    if on.cluster.control_plane:
        yield on.kubectl("delete", "pod", on.cluster.pods[pod].itself, seconds=60)
    else:
        yield from _say(on, file, pod, f"{_UNREADY}; {_TERMINATING}")
        yield at(on.asked, "socklb", "service", "list", service)
        yield end(on, pod)


def serve_again(env: Env) -> None:
    for pod in env.target.read().serving(WEB):
        if pod.itself:
            env.ask(at(pod.name, "sh", "-c", f"grep -q listen {CONFIG} || {{ {_WRITTEN} && {_READ}; }}"))
        elif env.ask(at(pod.name, "sh", "-c", f"kill -0 $(cat /run/socklb/{pod.name}.pid)")).exit:
            env.ask(at(pod.name, "nginx", "-c", f"/etc/socklb/workload/{pod.name}.conf"))
    if env.on.cluster.control_plane:
        env.ask(env.on.kubectl("rollout", "status", f"deployment/{WEB}", "--timeout=60s", seconds=70))
        env.target.read()


def _say(on: Scenario, file: str, pod: str, edit: str) -> Commands:
    """Edit a pod's entry in the EndpointSlice for IPv4, on every node."""
    for node in on.nodes:
        yield at(node, "sed", "-i", f"/- {on.address(pod)}$/,/terminating/ {{ {edit} }}", file)
