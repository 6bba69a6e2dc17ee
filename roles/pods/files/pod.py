#!/usr/bin/python3 -I
"""Pods of this node, as a kubelet makes them: a network namespace, a cgroup, and eth0 by the CNI protocol.

    pod add NAME…                      make pods; an existing one stays, an incomplete one is made again
    pod delete NAME…                   end their processes and remove them
    pod list [--json]                  name, addresses and processes of each
    pod exec NAME [--unhooked] -- CMD  run a command in a pod; --unhooked: in its network, but not in its cgroup

It has no images and no root file systems: a pod sees the files of its node. It needs nothing but Python and iproute2.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/socklb/cni.json")  # one CNI plugin's configuration
RESULTS = Path("/run/socklb/pods")  # the plugin's answer, one file per pod; written last
NETNS = Path("/run/netns")
PLUGINS = ("/opt/cni/bin", "/usr/lib/cni")


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        if options.verb == "exec":
            run_inside(options.name, options.command, unhooked=options.unhooked)
        elif options.verb == "list":
            show(as_json=options.json)
        else:
            for name in options.names:
                {"add": add, "delete": delete}[options.verb](name)
    except (OSError, RuntimeError) as error:
        print(f"pod {options.verb}: {error}", file=sys.stderr)
        return 1
    return 0


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pod", description="Pods of this node.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("add", "delete"):
        verbs.add_parser(verb).add_argument("names", nargs="+", metavar="NAME")
    verbs.add_parser("list").add_argument("--json", action="store_true")
    inside = verbs.add_parser("exec")
    inside.add_argument("name", metavar="NAME")
    inside.add_argument("--unhooked", action="store_true", help="not in the pod's cgroup: the control of an experiment")
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    options.command = words[split + 1 :]
    if options.verb == "exec" and not options.command:
        parser.error("exec: no command. Example: pod exec client -- ip address")
    return options


def add(name: str) -> None:
    if exists(name):
        return
    delete(name)
    cgroup(name).mkdir(parents=True)
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    answer = cni("ADD", name)
    RESULTS.mkdir(parents=True, exist_ok=True)
    new = RESULTS / f".{name}.new"
    new.write_text(answer)
    new.rename(result(name))


def delete(name: str) -> None:
    kill(cgroup(name))
    if (NETNS / name).exists():
        cni("DEL", name)
        run("ip", "netns", "delete", name)
    if cgroup(name).exists():
        cgroup(name).rmdir()
    result(name).unlink(missing_ok=True)


def show(*, as_json: bool) -> None:
    pods = [describe(name) for name in names()]
    if as_json:
        print(json.dumps(pods))
        return
    for pod in pods:
        print(f"{pod['name']:<16} {' '.join(pod['addresses']):<40} {len(pod['processes'])} processes")


def run_inside(name: str, command: list[str], *, unhooked: bool) -> None:
    """Become the command. Not `ip netns exec`: that hides the cgroup tree behind a /sys of its own."""
    if not exists(name):
        raise RuntimeError(f"no pod {name!r} here. Valid: {', '.join(names()) or 'none, the node has no pods'}")
    if not unhooked:
        (cgroup(name) / "cgroup.procs").write_text("0")
    os.execvp("nsenter", ["nsenter", f"--net={NETNS / name}", "--", *command])


def names() -> list[str]:
    return sorted(file.stem for file in RESULTS.glob("[!.]*.json") if exists(file.stem))


def exists(name: str) -> bool:
    return result(name).exists() and (NETNS / name).exists() and cgroup(name).exists()


def describe(name: str) -> dict[str, Any]:
    addresses = [ip["address"].partition("/")[0] for ip in json.loads(result(name).read_text())["ips"]]
    return {"name": name, "addresses": addresses, "processes": processes(cgroup(name))}


def result(name: str) -> Path:
    return RESULTS / f"{name}.json"


def cgroup(name: str) -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return Path(mount.split()[4]) / "pods" / name
    raise RuntimeError("no cgroup v2 is mounted. Remedy: mount -t cgroup2 cgroup2 /sys/fs/cgroup")


def processes(group: Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()] if group.exists() else []


def kill(group: Path) -> None:
    """Kill all processes, repeatedly: kernels before 5.14 have no cgroup.kill, and a process may fork meanwhile."""
    while pids := processes(group):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def cni(command: str, name: str) -> str:
    """Call the plugin by the CNI protocol: parameters in the environment, configuration on stdin, answer on stdout."""
    config = CONFIG.read_text()
    parameters = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": str(NETNS / name),
        "CNI_IFNAME": "eth0",
        "CNI_PATH": ":".join(PLUGINS),
    }
    return run(str(plugin(json.loads(config)["type"])), given=config, env=os.environ | parameters)


def plugin(kind: str) -> Path:
    for folder in PLUGINS:
        if (path := Path(folder, kind)).exists():
            return path
    raise RuntimeError(
        f"no CNI plugin {kind!r} in {', '.join(PLUGINS)}. Remedy: apt-get install containernetworking-plugins"
    )


def run(*argv: str, given: str | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, input=given, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        # A CNI plugin reports errors on stdout, as JSON.
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}: {(done.stderr + done.stdout).strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
