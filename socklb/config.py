"""The configuration of a node: /etc/socklb/socklb.toml."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from socklb.api.addresses import Network
from socklb.datapath.sizes import Sizes
from socklb.errors import SocklbError
from socklb.health import addresses

DEFAULT_PATH = Path("/etc/socklb/socklb.toml")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent and the other verbs need to know.

    node: this node's name, as its Node object spells it; a pod has it in the environment variable NODE_NAME instead.
    manifests: the folder of Kubernetes YAML to serve; empty: the Kubernetes API says what to serve.
    kubeconfig: how the API is reached; empty: as the ServiceAccount of the pod that the agent runs in.
    api_servers: addresses of control plane nodes, as in https://172.18.0.2:6443, tried one after the other; empty: the
        one of the kubeconfig. Never a Service's: the agent is what serves those.
    bpffs: a BPF file system; pins live below it in socklb/.
    cgroup: the node's cgroup-v2 root; found in /proc/self/mountinfo if absent.
    objects: the folder of the eBPF objects; the package's own if absent.
    socket: where the agent answers `socklb status`.
    health_address: where load balancers and probes ask for /healthz and /livez; empty: nowhere.
    metrics_address: where Prometheus asks for /metrics; empty: nowhere.
    max_frontends, max_backends: how many the tables have room for; they keep the size that they have already.
    packet_path: whether nftables serves what no socket hook sees; false where another program does, such as kube-proxy.
    pod_cidrs: networks of all pods of the cluster. With them the packet path tells clients inside from outside, keeps
        traffic between pods out of connection tracking, and masquerades what pods send to anywhere else.
    native_cidrs: further networks that pods reach with their own address.
    node_routes: whether the agent keeps a route to each other node's podCIDRs by way of that node's InternalIP, for
        nodes of one network where nothing else routes between pods.
    external_ips: networks in which spec.externalIPs are served; none if absent, for they can draw any traffic.
    """

    node: str = msgspec.field(default_factory=lambda: os.environ.get("NODE_NAME", ""))
    manifests: str = ""
    kubeconfig: str = ""
    api_servers: tuple[str, ...] = ()
    bpffs: str = "/sys/fs/bpf"
    cgroup: str | None = None
    objects: str | None = None
    socket: str = "/run/socklb/agent.sock"
    health_address: str = "[::]:10256"
    metrics_address: str = "127.0.0.1:10249"
    max_frontends: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)] = Sizes().frontends
    max_backends: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)] = Sizes().backends
    external_ips: tuple[str, ...] = ()
    packet_path: bool = True
    pod_cidrs: tuple[str, ...] = ()
    native_cidrs: tuple[str, ...] = ()
    node_routes: bool = False

    def __post_init__(self) -> None:
        """Refuse a key that has the right type and says nothing of use."""
        if not self.node:
            raise ValueError("Object missing required field `node`, and NODE_NAME is not in the environment")
        for key in ("kubeconfig", "api_servers"):
            if self.manifests and getattr(self, key):
                raise ValueError(f"there can be one source: `manifests` or the API - at `$.{key}`")
        for text in self.api_servers:
            if not re.fullmatch(r"https?://[^/\s]+:[0-9]+", text):
                raise ValueError(f"{text!r} is not like https://172.18.0.2:6443 - at `$.api_servers`")
        for key in ("external_ips", "pod_cidrs", "native_cidrs"):
            for text in getattr(self, key):
                try:
                    Network.parse(text)
                except ValueError as error:
                    raise ValueError(f"{error} - at `$.{key}`") from None


def load(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SocklbError: the file cannot be read, is not TOML, or a key is missing, unknown or of the wrong type.
    """
    keys = ", ".join(field.name for field in msgspec.structs.fields(Config))
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Config)
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
    addresses.parse("health_address", found.health_address)
    addresses.parse("metrics_address", found.metrics_address)
    return found
