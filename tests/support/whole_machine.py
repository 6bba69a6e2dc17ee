"""Run on a machine as root: prints everything of it that a provisioning changes, as JSON. See snapshot.py."""

import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path

# What any use of a machine moves: logs, caches, copies that dpkg keeps of its own state, what Python compiled.
MOVED = re.compile(
    r"/(proc|sys|dev|tmp|run|lib/modules)/|/var/(log|cache|tmp)/|/var/lib/systemd/|/var/lib/(sudo|private)/"
    r"|/var/lib/dpkg/(status|info/.*\.list|.*-old|lock.*|triggers/Lock)$|/\.sudo_as_admin_successful$|/var/lib/apt/(lists/|extended_states|daily_lock)"
    r"|/etc/(ld\.so\.cache|\.pwd\.lock)$|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/__pycache__/|/\.cache/"
)
UNITS = "systemctl list-units --all --plain --no-legend --type=service,socket,timer,mount,slice,target"
PASSING_UNITS = (
    r"session-|user-|user@|systemd-tmpfiles|apt-|dpkg-|rescue|emergency|systemd-fsck|not-found| dead$|binfmt_misc"
    r"|ldconfig|systemd-journal-catalog|systemd-sysusers|systemd-update-done|network-online"  # once, at a start
)
# Of devices that are there from the first tunnel on, in every network namespace of a kernel; and what the kernel moves.
OTHER_SYSCTLS = (
    r"\.neigh\.|stable_secret|_count =|nf_conntrack_(max|buckets)|nf_log"
    r"|\.(tunl|gre|gretap|sit|ip6tnl|ip6gre|erspan|ip_vti|ip6_vti|teql)[0-9]"
)
COMMANDS = {  # kind of line -> command, lines that do not count
    "process": ("ps -eo args", r"^(COMMAND|ps |sh -c|python3 -|\(sd-pam|sshd: admin)"),
    "link": (r"ip -o link | sed 's/^[0-9]*: //; s/@[^ ]*//; s/\\.*//'", ""),
    "address": ("ip -o address | awk '{print $2, $4}'", ""),
    "route": ("ip route show table all; ip -6 route show table all", "expires|fe80|anycast|multicast|ff00"),
    "rule": ("ip rule; ip -6 rule", ""),
    "mount": ("awk '{print $5, $9}' /proc/self/mountinfo", "binfmt_misc|/docker/"),
    "unit": (f"{UNITS} | awk '{{print $1, $3}}'", PASSING_UNITS),
    "enabled": ("systemctl list-unit-files --no-legend --state=enabled", ""),
    "sysctl": ("sysctl -a 2>/dev/null | grep '^net.'", OTHER_SYSCTLS),
    "package": ("dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'", ""),
    "nft": ("nft list ruleset 2>/dev/null", ""),
    "pin": ("find /sys/fs/bpf -mindepth 1", ""),
    "cgroup": ("find /sys/fs/cgroup -type d", r"\.(service|scope|mount|socket|slice)$"),
    "namespace": ("ls /run/netns 2>/dev/null", ""),
    "run": ("find /run -maxdepth 1", "/(netns|adduser)$"),
}


def main() -> None:
    found = files()
    for kind, (command, without) in COMMANDS.items():
        said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout
        for line in said.splitlines():
            if not (without and re.search(without, line)):
                key, _, value = line.partition(" = ")
                found[f"{kind} {key}"] = value
    print(json.dumps(found))


def files() -> dict[str, str]:
    found: dict[str, str] = {}
    for folder, folders, names in os.walk("/"):
        here = Path(folder)
        folders[:] = [name for name in folders if (here / name).is_symlink() or not MOVED.search(f"{here / name}/")]
        for name in (*folders, *names):
            if not MOVED.search(str(here / name)):
                found[f"file {here / name}"] = one_file(here / name)
    return found


def one_file(path: Path) -> str:
    status = path.lstat()
    told = [stat.filemode(status.st_mode), str(status.st_uid), str(status.st_gid)]
    if stat.S_ISLNK(status.st_mode):
        told.append(str(path.readlink()))
    elif stat.S_ISREG(status.st_mode):
        told.append(hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    return " ".join(told)


main()
