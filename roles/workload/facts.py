"""The servers in a node's pods, and the manifests they are announced by."""

import shlex

from pyinfra.api.facts import FactBase

FOLDER = "/etc/socklb/workload"


class Serving(FactBase[list[str]]):
    """The pods of these whose server runs with the configuration that is there now.

    A server writes its pid file when it starts: one that is older than the configuration belongs to the one before.
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
