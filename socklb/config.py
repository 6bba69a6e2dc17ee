"""The configuration of a node: /etc/socklb/socklb.toml."""

from __future__ import annotations

from pathlib import Path

import msgspec

from socklb.errors import SocklbError

DEFAULT_PATH = Path("/etc/socklb/socklb.toml")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent and the other verbs need to know.

    node: this node's name, as its Node object spells it.
    manifests: the folder of Kubernetes YAML to serve.
    bpffs: a BPF file system; pins live below it in socklb/.
    cgroup: the node's cgroup-v2 root; found in /proc/self/mountinfo if absent.
    objects: the folder of the eBPF objects; the package's own if absent.
    socket: where the agent answers `socklb status`.
    """

    node: str
    manifests: str
    bpffs: str = "/sys/fs/bpf"
    cgroup: str | None = None
    objects: str | None = None
    socket: str = "/run/socklb/agent.sock"


def load(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SocklbError: the file cannot be read, is not TOML, or a key is missing, unknown or of the wrong type.
    """
    keys = ", ".join(field.name for field in msgspec.structs.fields(Config))
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Config)
    except OSError as error:
        raise SocklbError(
            f"cannot read the configuration: {error.strerror}",
            value=path,
            hint="name another with --config FILE",
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SocklbError(
            f"the configuration is not right: {error}", value=path, valid=f"TOML with the keys {keys}"
        ) from error
