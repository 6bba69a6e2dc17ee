"""The servers in the pods of the local cluster, which are ended and started without a kubelet.

yield servers.end("web-2")                     in an act: it dies, and no EndpointSlice says so
servers.serve_again(env)                       in reset(): every pod of `web` has its server
"""

from labs.engine.env import Env
from labs.engine.places import Command, at
from labs.engine.scenario import WEB


def end(pod: str) -> Command:
    return at(pod, "sh", "-c", f"kill $(cat /run/socklb/{pod}.pid)")


def serve_again(env: Env) -> None:
    for pod in env.on.cluster.serving(WEB):
        runs = at(pod.name, "sh", "-c", f"kill -0 $(cat /run/socklb/{pod.name}.pid)")
        if env.ask(runs).exit:
            env.ask(at(pod.name, "nginx", "-c", f"/etc/socklb/workload/{pod.name}.conf"))
