"""A cluster that exists, the local one or kind's, as a walk needs it: its nodes and pods, Services, servers and status.

    with on(open_target()) as rig:
        rig.nodes, rig.clients, rig.servers
        rig.change(asked, pods)         the slice's new generation
        rig.status("w1")

On kind the objects are in its API. On the local cluster they are manifests on every node.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from inventory.connectors.outside import inside_pod
from inventory.place import Entry, Place
from labs.engine.cluster import Pod
from labs.engine.kubernetes import KubernetesTarget
from labs.engine.places import KUBECTL
from labs.engine.scenario import Scenario
from labs.engine.target import Target
from tests.chaos.cluster import services
from tests.chaos.services import ALL, COUNT, Asked

ROOT = Path(__file__).parents[3]
FOLDER = "/etc/socklb/manifests"
CODE = "/tmp/socklb-chaos"  # in a pod or on a node
SHIPPED = ("tests/chaos/server.py", "tests/chaos/client.py", "tests/chaos/services.py")
LABEL = "socklb.io/chaos"
UNPACK = """
import json, pathlib, sys
for path, text in json.load(sys.stdin).items():
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(text)
"""


class ClusterRig:
    """See the module."""

    def __init__(self, target: Target, home: Path) -> None:
        self.target, self.home = target, home
        self.on = Scenario(target.cluster)
        self.by_api = bool(target.cluster.control_plane)
        self.nodes = {name: target.place(name) for name in target.cluster.nodes}
        self.servers = [pod for pod in target.cluster.pods.values() if pod.kind == "web"]
        self.clients = [pod for pod in target.cluster.pods.values() if pod.kind == "client"]
        self._generations = count(1)

    def pids(self) -> list[int]:
        """Return whose work is needed until all is well: agents, wherever on this machine their nodes are."""
        found = [os.getpid()]
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cmdline").read_bytes().endswith(b"/socklb\0agent\0"):
                    found.append(int(process.name))
        return found

    def revive(self) -> None:
        """Each fault starts what it ended."""

    def restart(self) -> None:
        for node in self.nodes:
            self.agent(node, "restart")

    def pod(self, pod: Pod) -> Place:
        """Return a pod without the API on the way, which may be away. What runs there meets the node's hooks."""
        if not isinstance(self.target, KubernetesTarget):
            return self.target.place(pod.name)
        return Place(pod.name, Entry(self.nodes[pod.node].entry.host, inside_pod(pod.uid)))

    def status(self, node: str) -> dict[str, Any] | None:
        """Return the node's status; None if no agent answers."""
        try:
            found = json.loads(self.nodes[node].run("socklb", "status", "--json", timeout=30).stdout)
        except (ValueError, subprocess.TimeoutExpired):
            return None
        return found if found.get("agent", {}).get("running") else None

    def told(self) -> str:
        """Return what the nodes say is wrong, also where no agent answers."""
        said = [place.run("socklb", "status", timeout=30) for place in self.nodes.values()]
        return "\n".join(f"{one.stdout}{one.stderr}" for one in said)

    def kubectl(self, *words: str, given: str = "") -> str:
        return self.nodes[self.target.cluster.control_plane].output(*KUBECTL, *words, given=given, timeout=30)

    def create_all(self) -> None:
        """Have the Services, and slices in which every server is ready."""
        documents = [services.service(number) for number in range(COUNT)]
        if self.by_api:
            documents += [services.endpoint_slice(asked, self.servers) for asked in ALL]
            for document in documents:
                document["metadata"].setdefault("labels", {})[LABEL] = "yes"
            self.kubectl(
                "apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
            )
        else:
            self._write("chaos.yaml", documents)
            for asked in ALL:
                self.change(asked, self.servers)

    def change(self, asked: Asked, pods: Iterable[Pod]) -> int:
        """Have these pods ready; return the generation of that.

        Raises:
            CommandError, TimeoutExpired: the API does not take it now.
        """
        if self.by_api:
            patch = json.dumps({"endpoints": services.endpoints(asked, pods)})
            words = ("patch", "endpointslice", asked.slice, "--type", "merge", "--patch", patch, "--output", "json")
            return int(json.loads(self.kubectl(*words))["metadata"]["generation"])
        generation = next(self._generations)
        self._write(f"{asked.slice}.yaml", [services.endpoint_slice(asked, pods, generation)])
        return generation

    def remove_all(self) -> None:
        if self.by_api:
            self.kubectl("delete", "services,endpointslices", "--selector", LABEL, "--ignore-not-found")
        else:
            for place in self.nodes.values():
                place.output("sh", "-c", f"rm -f {FOLDER}/chaos*.yaml")

    def _write(self, file: str, documents: Iterable[Any]) -> None:
        text = "".join(f"---\n{json.dumps(document)}\n" for document in documents)
        for place in self.nodes.values():
            place.output("sh", "-c", f"cat >{FOLDER}/.new && mv {FOLDER}/.new {FOLDER}/{file}", given=text)

    def ship(self, place: Place) -> None:
        """Put there what servers and clients are made of."""
        files = json.dumps({f"{CODE}/{path}": (ROOT / path).read_text() for path in SHIPPED})
        place.output("python3", "-c", UNPACK, given=files)

    def run(self, place: Place, name: str, *words: str, hooked: bool = True) -> list[str]:
        """Return the command that runs a module there until end() of the same name."""
        script = f'cd {CODE} && echo $$ >{name}.pid && exec env PYTHONPATH={CODE} python3 -u "$@"'
        return place.argv("sh", "-c", script, "sh", *words, hooked=hooked)

    def end(self, place: Place, name: str) -> None:
        place.run("sh", "-c", f"cd {CODE} && kill $(cat {name}.pid); rm -f {name}.pid")

    def agent(self, node: str, what: str) -> None:
        """Do something with a node's agent: `kill`, `stop`, `start`, `freeze`, `thaw` or `restart`."""
        managed = self.target.cluster.nodes[node].systemd
        self.nodes[node].output("sh", "-c", (SYSTEMD if managed else DAEMON)[what])


_UNIT = "socklb-agent"
SYSTEMD = {
    "kill": f"systemctl kill --signal=KILL {_UNIT}",
    "stop": f"systemctl stop {_UNIT}",
    "start": f"systemctl reset-failed {_UNIT}; systemctl start {_UNIT}",
    "freeze": f"systemctl kill --signal=STOP {_UNIT}",
    "thaw": f"systemctl kill --signal=CONT {_UNIT}",
    "restart": f"systemctl kill --signal=KILL {_UNIT}; systemctl reset-failed {_UNIT}; systemctl restart {_UNIT}",
}
_PID = "/run/socklb/agent.pid"
_START = (
    f"start-stop-daemon --start --oknodo --background --make-pidfile --pidfile {_PID} --output /var/log/socklb.log "
    "--startas /usr/local/bin/socklb -- agent"
)
_STOP = f"start-stop-daemon --stop --oknodo --pidfile {_PID} --retry"
DAEMON = {
    "kill": f"{_STOP} KILL/5",
    "stop": f"{_STOP} 5",
    "start": _START,
    "freeze": f"kill -STOP $(cat {_PID})",
    "thaw": f"kill -CONT $(cat {_PID})",
    "restart": f"{_STOP} KILL/5; {_START}",
}


@contextlib.contextmanager
def on(target: Target, home: Path) -> Iterator[ClusterRig]:
    """Have it, with its servers and Services, while the block runs."""
    rig = ClusterRig(target, home)
    with contextlib.ExitStack() as undo:
        for pod in rig.servers:
            place = rig.pod(pod)
            rig.ship(place)
            command = rig.run(place, "server", "tests/chaos/server.py", *services.words(pod))
            server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            undo.callback(rig.end, place, "server")
            assert server.stdout
            assert server.stdout.readline() == "ready\n", f"no server in {pod.name}"
        for node in rig.nodes:
            undo.callback(rig.agent, node, "start")
        undo.callback(rig.remove_all)
        rig.create_all()
        yield rig
