"""A cluster of machines over SSH in tests: its inventory as a user writes it, and the deploys as a user types them.

metal = BareMetal(machines, folder)
metal.write(control_plane=["cp"], workers=["w1", "w2"])
metal.deploy("cluster")
metal.kubernetes().kubectl("get", "nodes")
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.cluster import ROOT
from tests.support.kubernetes import Kubernetes
from tests.support.machines import EMPTY, KEY, KNOWN_HOSTS, USER, Machines
from tests.support.sealed import Text, run

PATIENCE = 1800.0  # seconds for a deploy, where others use the machine too
TEMPLATE = '''"""Machines of our own making."""

from inventory.machines import groups, machine

control_plane, workers, nodes, kubernetes, machines = groups(
    control_plane=[{control_plane}],
    workers=[{workers}],
{settings})
'''


class BareMetal:
    """An inventory of these machines, in a file of its own."""

    def __init__(self, machines: Machines, folder: Path, source: Path) -> None:
        self.machines, self.file = machines, folder / "bare_metal.py"
        self._settings: dict[str, Any] = {
            "ssh_user": USER,
            "ssh_key": str(KEY),
            "ssh_known_hosts_file": str(KNOWN_HOSTS),
            "ssh_config_file": str(EMPTY),  # nothing of the user's own
            "sudo": True,
            "source": str(source),
            "kubernetes_version": "1.34.4",
            "unhooked_slice": True,  # the control of labs
            "lowers_oom_scores": False,  # a container may not
        }

    def write(self, control_plane: Sequence[str], workers: Sequence[str] = (), **settings: Any) -> Self:
        """Write the inventory; `settings` win over those of all these tests."""
        pairs = (self._settings | settings).items()
        self.file.write_text(
            TEMPLATE.format(
                control_plane=", ".join(map(self._machine, control_plane)),
                workers=", ".join(map(self._machine, workers)),
                settings="".join(f"    {key}={value!r},\n" for key, value in pairs),
            )
        )
        return self

    def _machine(self, name: str) -> str:
        found = self.machines[name]
        own = f", ssh_port={found.port}" if found.port != 22 else ""
        return f"machine({name!r}, {', '.join(map(repr, found.addresses))}{own})"

    def argv(self, deploy: str, *words: str) -> list[str]:
        """The command as typed in the project's folder."""
        pyinfra = str(Path(sys.executable).with_name("pyinfra"))
        return [pyinfra, "-y", "--json", *words, str(self.file), f"deploys/{deploy}.py"]

    def run(self, deploy: str, *words: str) -> Text:
        """Run it, whatever comes of it; what it said is kept in build/log."""
        done = run(*self.argv(deploy, *words), timeout=PATIENCE)
        with (ROOT / "build" / "log" / "bare-metal.log").open("a") as log:
            log.write(f"$ pyinfra {' '.join(words)} {self.file.name} deploys/{deploy}.py\n{done.stderr}\n")
        return done

    def deploy(self, deploy: str, *words: str) -> dict[str, Any]:
        """Run it to success and give pyinfra's results."""
        done = self.run(deploy, *words)
        assert done.returncode == 0, f"deploys/{deploy}.py: {done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        results: dict[str, Any] = json.loads(done.stdout)["results"]
        return results

    def start(self, deploy: str) -> "subprocess.Popen[str]":
        """Start it, for who is going to kill it."""
        return subprocess.Popen(
            self.argv(deploy),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def project(self, *words: str, timeout: float = 600) -> Text:
        """Run a program of the project on this inventory: `lab`, `pytest`."""
        program = str(Path(sys.executable).with_name(words[0]))
        return run(program, *words[1:], timeout=timeout, SOCKLB_INVENTORY=str(self.file))

    def whoami(self) -> Text:
        """Ask each machine by pyinfra who its commands run as."""
        return self.project("pyinfra", "-y", str(self.file), "exec", "--", "id", "-un", timeout=120)

    def kubernetes(self) -> Kubernetes:
        return Kubernetes(str(self.file))
