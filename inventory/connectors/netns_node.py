"""A node of the local cluster: a container-like tree of processes with its own network, root, cgroup and PID 1.

    ensure("w1", ["172.18.0.3/24"])              make it, or make it again if it is incomplete or dead
    subprocess.run([*enter_argv("w1"), "ip", "route"])
    remove("w1")                                 also if nothing is there; the last node takes the fabric along

A node exists when its PID 1 is alive: its pid is written down last. Anything else that is found is a remnant, and
removed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from inventory.connectors import cgroup, fabric, this_machine
from inventory.connectors.this_machine import NodeError

INIT = Path(__file__).with_name("netns-node-init.sh")
NAME = re.compile(r"[a-z][a-z0-9-]{0,13}")  # also the name of an interface, which has at most 15 bytes

# A node has its own environment: it does not get the caller's proxies, virtual environment and locale.
ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=xterm",
)

# nsenter waits outside for the command, its child, and forwards no signals: one to nsenter is meant for the command.
ENDS_WITH_NSENTER = ("setpriv", "--pdeathsig", "TERM", "--")


def home(node: str) -> Path:
    if not NAME.fullmatch(node):
        raise NodeError(f"{node!r} cannot be the name of a node. Valid: {NAME.pattern}")
    return this_machine.NODES / node


def pid(node: str) -> int | None:
    """Return the pid of the node's PID 1 on the host, or None if the node does not exist.

    Raises:
        NodeError: unknown, because only root may look.
    """
    try:
        number = int((home(node) / "pid").read_text())
        same_network = Path(f"/proc/{number}/ns/net").samefile(fabric.netns_path(node))
        status = Path(f"/proc/{number}/status").read_text()
    except PermissionError:
        if os.geteuid() == 0:  # the pid was reused by a process that we cannot access
            return None
        raise NodeError(f"node {node}: only root can enter it. Next: the same command as root") from None
    except (OSError, ValueError):
        return None
    # The pid may have been reused by another process; only our PID 1 is process 1 inside and in this network.
    return number if same_network and re.search(r"^NSpid:.*\t1$", status, re.MULTILINE) else None


def enter_argv(node: str, hooked: bool = True) -> list[str]:
    """Return the prefix for a command that makes it run in the node.

    The cgroup is joined first, from outside: inside, the node's own cgroup is the root of what is visible. With
    hooked=False the command is in the node's namespaces but outside its cgroup: none of its BPF programs runs.
    """
    number = pid(node)
    if number is None:
        raise NodeError(f"node {node} is not there. Next: pyinfra inventory deploys/cluster.py")
    group = cgroup.of_node(node) if hooked else cgroup.of_unhooked()
    nsenter = ["nsenter", f"--target={number}", "--mount", "--uts", "--net", "--pid", "--cgroup", "--"]
    return [*cgroup.join_argv(group), *nsenter, "env", "-i", *ENVIRONMENT, *ENDS_WITH_NSENTER]


def ensure(node: str, addresses: Sequence[str]) -> None:
    if pid(node) is not None:
        return
    with this_machine.lock():
        if pid(node) is None:
            this_machine.prepare()
            _remove(node)
            _create(node, addresses)


def remains(node: str) -> bool:
    """Return whether remove() has anything to do."""
    return home(node).exists() or (this_machine.RUN.exists() and not nodes())


def nodes() -> list[str]:
    """Return the nodes that exist, including incomplete or dead ones."""
    return sorted(path.name for path in this_machine.NODES.iterdir()) if this_machine.NODES.is_dir() else []


def remove(node: str) -> None:
    with this_machine.lock():
        _remove(node)
        if not nodes():
            fabric.remove()
            cgroup.remove(cgroup.base())
            this_machine.clear()


def _remove(node: str) -> None:
    cgroup.remove(cgroup.of_node(node))
    fabric.unplug(node)
    shutil.rmtree(home(node), ignore_errors=not home(node).exists())


def _create(node: str, addresses: Sequence[str]) -> None:
    for part in ("upper", "work", "root"):
        (home(node) / part).mkdir(parents=True)  # the folder is the first sign of a node
    for group in (cgroup.of_node(node), cgroup.of_unhooked()):
        group.mkdir(parents=True, exist_ok=True)
    fabric.ensure()
    fabric.plug(node, addresses)
    written = home(node) / "pid.new"
    written.write_text(f"{_start(node)}\n")
    written.rename(home(node) / "pid")


def _start(node: str) -> int:
    """Start PID 1 and wait until it has its mounts: its script then closes the output that we read."""
    join = cgroup.join_argv(cgroup.of_node(node))
    nsenter = ["nsenter", f"--net={fabric.netns_path(node)}", "--"]
    unshare = ["unshare", "--mount", "--uts", "--pid", "--cgroup", "--"]
    started = subprocess.run(
        [*join, *nsenter, *unshare, "sh", str(INIT), "start", str(home(node)), node],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,  # otherwise Ctrl-C in the user's terminal would end the node
    )
    number, *rest = started.stdout.split("\n", 1)
    if started.returncode or not number.isdigit() or "ready" not in "".join(rest):
        raise NodeError(f"node {node} did not start ({INIT.name}): {started.stdout.strip()}")
    return int(number)
