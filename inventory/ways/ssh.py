"""To a machine by OpenSSH's client, with the data that pyinfra's own SSH connector reads.

Nothing of a machine is outside its root cgroup. What is to run unhooked runs in a slice that the hooks leave out, where
the inventory has one (`unhooked_slice`).

Where that data has `_sudo`, commands run as root: `sudo -n`, so that one which would ask for a password fails at once.
"""

import shlex

from inventory.hosts import AnyHost, short_name
from inventory.ways import no_outside

FLAGS = {"ssh_config_file": "-F", "ssh_port": "-p", "ssh_key": "-i", "ssh_user": "-l"}
OPTIONS = {"ssh_known_hosts_file": "UserKnownHostsFile", "ssh_strict_host_key_checking": "StrictHostKeyChecking"}

UNHOOKED = "unhooked.slice"


def argv(host: AnyHost, *command: str, hooked: bool, terminal: bool) -> list[str]:
    if not hooked and not host.data.get("unhooked_slice"):
        raise no_outside(host, "unhooked_slice=True in an inventory of machines and deploys/cluster.py again, or ")
    words = [word for key, flag in FLAGS.items() if (value := host.data.get(key)) for word in (flag, str(value))]
    options = [f"{name}={value}" for key, name in OPTIONS.items() if (value := host.data.get(key))]
    options += [] if terminal else ["BatchMode=yes"]
    words += [word for option in options for word in ("-o", option)]
    sudo = ["sudo", "-n", "--"] if host.data.get("_sudo") else []
    unhooked = [] if hooked else ["systemd-run", "--scope", "--quiet", f"--slice={UNHOOKED}", "--"]
    address = host.data.get("ssh_hostname") or short_name(host)
    return ["ssh", *(["-t"] if terminal else []), *words, address, "--", shlex.join([*sudo, *unhooked, *command])]
