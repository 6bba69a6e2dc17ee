"""The servers in a node's pods, and the manifests of their Services."""

import shlex

from pyinfra.api.facts import FactBase

FOLDER = "/etc/socklb/workload"


class Serving(FactBase[list[str]]):
    """Those of these pods whose server runs with its present configuration.

    A server writes its pid file when it starts: a pid file older than the configuration belongs to the previous one.
    """

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, pods: list[str]) -> str:
        alive = 'kill -0 "$(cat /run/socklb/$p.pid)"'
        fresh = f"[ /run/socklb/$p.pid -nt {FOLDER}/$p.conf ]"
        return f"for p in {shlex.join(pods)}; do {{ {alive} && {fresh} && echo $p; }} 2>/dev/null; done; true"

    def process(self, output: list[str]) -> list[str]:
        return output
