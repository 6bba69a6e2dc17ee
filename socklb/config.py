"""The configuration of a node: /etc/socklb/socklb.toml."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import msgspec

from socklb import config_file, listen_address
from socklb.api.addresses import Network
from socklb.datapath.sizes import MOST
from socklb.errors import SocklbError, one_line, short

LOG_LEVELS = ("debug", "info", "warning", "error")
PATHS = ("manifests", "kubeconfig", "bpffs", "cgroup", "objects", "socket")
NAMED = 80  # characters of a key that is not ours


class Config(msgspec.Struct, frozen=True):
    """What the agent and the other verbs need to know. docs/reference.md prints this text: run `make format`.

    node: this node's name, as its Node object spells it; without it the environment variable `NODE_NAME`, which a pod
        has.
    manifests: the folder of Kubernetes manifests to serve; without it the Kubernetes API says what to serve.
    kubeconfig: how the API is reached; without it, and without `manifests`, as the ServiceAccount of the agent's pod.
    api_servers: addresses of control plane nodes, as in `["https://172.18.0.2:6443"]`: a random one is asked, and any
        other when it fails; without it the kubeconfig's server. Never a Service's address: the agent is what serves
        those.
    bpffs: a BPF file system; pins live in `socklb/` below it.
    cgroup: the node's cgroup-v2 root, where the hooks attach; without it the one found in `/proc/self/mountinfo`. If it
        is below the root of the hierarchy, processes beside it are served at lo too
        (docs/how-it-works.md#on-the-packet).
    objects: the folder of `socklb.bpf.o` and the other eBPF objects, also those for older kernels; without it the
        folder in the Python package.
    socket: where the agent answers `socklb status`.
    health_address: where load balancers and probes ask for `/healthz` and `/livez`: an IP address and a port, `::` for
        IPv4 too; empty for no server.
    metrics_address: where Prometheus asks for `/metrics`, and where `/proxyMode` is; empty for no server.
    metrics_services: the Services whose connections are counted by backend
        (docs/operations.md#connections-by-service): `"top:100"` (1 to 1000), those with the most connects, or a list as
        in `["shop/web"]`. Then each connect costs some 70 ns more; without it nothing is counted.
    max_frontends, max_backends: how many the socket tables may have room for. They begin with less, grow by themselves
        up to these numbers (docs/reference.md#sizes), and never shrink. Other numbers take effect when the agent is
        restarted, which no client notices; numbers below what the tables have take effect only after `socklb cleanup`,
        and `socklb status` says so until then.
    packet_path: whether programs at the node's uplinks serve what no socket hook sees. Set it to `false` where another
        program does, such as a kube-proxy: what an earlier agent attached is detached then.
    uplinks: the devices by which the node reaches what is not on it, as in `["eth*"]`; without it they are found
        (docs/reference.md#uplinks).
    max_flows: how many translated flows there is room for, a power of two. The table keeps its size until
        `socklb cleanup`.
    host_routing: whether packets to and from pods are handed on where they come in
        (docs/operations.md#host-routing). It is faster, and bypasses the node's netfilter, NetworkPolicy that is made
        of its rules, and the queueing disciplines of pods' devices; `socklb status` names rules that do not work then.
        Needs `pod_cidrs` and `packet_path`.
    pod_sockets: whether the hooks serve pods' sockets. Set it to `false` beside a service mesh
        (docs/operations.md#beside-a-service-mesh), whose proxy must see which Service was asked for: then the packet
        path serves them.
    bypass_pods: whether sockets of Pods labelled `socklb.io/bypass: "true"`, or in a Namespace labelled so, are left to
        the packet path (docs/operations.md#leave-out-a-pod). Needs the rights of deploys/kubernetes/rbac-bypass.yaml,
        and cannot be combined with `manifests`.
    bypass_cgroups: the same for these cgroups and all below, as paths below the node's:
        `["system.slice/proxy-*.service"]`. `*`, `?` and `[…]` stand for parts of one name; `..` and `**` are refused.
    pod_cidrs: networks of all pods of the cluster. With them the packet path tells clients inside from outside, keeps
        traffic between pods out of connection tracking, and masquerades what pods send to anywhere else.
    native_cidrs: further networks that pods reach with their own address.
    node_routes: whether the agent keeps a route to each other node's `podCIDRs` by way of that node's InternalIP, for
        nodes of one network where nothing else routes between pods. Needs `pod_cidrs`: no other network is believed.
    log_level: the least that is logged: `debug`, `info`, `warning` or `error`; `debug` also tells which objects are
        passed over.
    external_ips: networks in which `spec.externalIPs` are served, as in `["198.51.100.0/24"]`; without it none, because
        they can draw any traffic.
    """

    node: str = msgspec.field(default_factory=lambda: os.environ.get("NODE_NAME", ""))
    manifests: str = ""
    kubeconfig: str = ""
    api_servers: tuple[str, ...] = ()
    bpffs: str = "/sys/fs/bpf"
    cgroup: str | None = None
    objects: str | None = None
    socket: str = config_file.DEFAULT_SOCKET
    health_address: str = "[::]:10256"
    metrics_address: str = "127.0.0.1:10249"
    metrics_services: str | tuple[str, ...] = ()
    max_frontends: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)] = MOST.frontends
    max_backends: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)] = MOST.backends
    external_ips: tuple[str, ...] = ()
    packet_path: bool = True
    uplinks: tuple[str, ...] = ()
    max_flows: Annotated[int, msgspec.Meta(ge=1 << 10, le=1 << 24)] = 1 << 17
    host_routing: bool = False
    pod_sockets: bool = True
    bypass_pods: bool = False
    bypass_cgroups: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    native_cidrs: tuple[str, ...] = ()
    node_routes: bool = False
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Refuse what has the right type and says nothing of use, all of it at once."""
        if mistakes := list(_mistakes(self)):
            raise ValueError("; ".join(mistakes))


def load(path: Path) -> Config:
    """Read a configuration.

    Raises:
        SocklbError: the file cannot be read, is not TOML, or a key is missing, unknown or of the wrong type.
    """
    said = config_file.read(path)
    unknown = said.keys() - set(KEYS)
    mistakes = [f"unknown key `{one_line(key, NAMED)}`{_meant(key)}" for key in sorted(unknown)]
    known = {key: value for key, value in said.items() if key in KEYS}
    mistakes += _wrong_types(known)
    try:
        found = msgspec.convert(known, Config)
    except msgspec.ValidationError as error:
        raise _not_right(path, mistakes or [str(error)], unknown=bool(unknown)) from error
    if mistakes:
        raise _not_right(path, mistakes, unknown=True)
    return found


TYPES = {field.name: field.type for field in msgspec.structs.fields(Config)}
KEYS = tuple(TYPES)


def _wrong_types(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what has the wrong type, key by key: together they would be told one at a time."""
    for key, value in known.items():
        try:
            msgspec.convert(value, TYPES[key])
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$")
            index = re.fullmatch(r"\[(\d+)\]`", place)
            wrong = value[int(index[1])] if index else value
            shown = "" if isinstance(wrong, list | dict) else f" ({short(wrong)})"
            yield f"{what}{shown} - at `$.{key}{place.rstrip('`')}`"


def _not_right(path: Path, mistakes: Iterable[str], *, unknown: bool = False) -> SocklbError:
    valid = f"the keys {', '.join(KEYS)}" if unknown else ""
    return SocklbError(f"the configuration is not right: {'; '.join(mistakes)}", value=path, valid=valid)


def _meant(key: str) -> str:
    alike = get_close_matches(key, KEYS, n=1, cutoff=0.7)
    return f", did you mean `{alike[0]}`?" if alike else ""


def _mistakes(config: Config) -> Iterator[str]:
    if not config.node:
        yield "Object missing required field `node`, and NODE_NAME is not in the environment"
    for key in ("kubeconfig", "api_servers"):
        if config.manifests and getattr(config, key):
            yield f"there can be one source: `manifests` or the API - at `$.{key}`"
    for text in config.api_servers:
        found = re.fullmatch(r"https://(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})", text)
        if not found or not 1 <= int(found[1]) <= 65535:
            yield f"{short(text)} is not like https://172.18.0.2:6443 - at `$.api_servers`"
    yield from _paths(config)
    if config.log_level not in LOG_LEVELS:
        yield f"{short(config.log_level)} is none of {', '.join(LOG_LEVELS)} - at `$.log_level`"
    if config.max_flows & (config.max_flows - 1):
        yield f"{config.max_flows} is no power of two - at `$.max_flows`"
    yield from _host_routing_lacks(config)
    yield from _bypass_mistakes(config)
    yield from _metrics_services(config)
    for key in ("external_ips", "pod_cidrs", "native_cidrs"):
        for text in getattr(config, key):
            try:
                Network.parse(text)
            except ValueError:
                yield f"{short(text)} is not a CIDR like 10.244.0.0/16 - at `$.{key}`"
    for key in ("health_address", "metrics_address"):
        try:
            listen_address.parse(key, getattr(config, key))
        except SocklbError as error:
            yield str(SocklbError(error.message, value=error.value, valid=error.valid))


def _paths(config: Config) -> Iterator[str]:
    for key in PATHS:
        text = getattr(config, key)
        if text is not None and not config_file.has_path(text):
            yield f"{short(text)} is no path - at `$.{key}`"


def _metrics_services(config: Config) -> Iterator[str]:
    wanted, valid = config.metrics_services, "valid: a list of NAMESPACE/NAME, or top:N with N from 1 to 1000"
    if isinstance(wanted, str):
        found = re.fullmatch(r"top:([1-9][0-9]{0,3})", wanted)
        wrong = [] if found and int(found[1]) <= 1000 else [wanted]
    else:
        wrong = [text for text in wanted if not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", text)]
    yield from (f"{short(text)} says not which Services; {valid} - at `$.metrics_services`" for text in wrong)


def _host_routing_lacks(config: Config) -> Iterator[str]:
    if not config.host_routing:
        return
    if not config.packet_path:
        yield "packets are handed on by the packet path: it needs packet_path = true - at `$.host_routing`"
    if not config.pod_cidrs:
        yield "packets of pods are handed on, and only pod_cidrs says which those are - at `$.host_routing`"


def _bypass_mistakes(config: Config) -> Iterator[str]:
    if config.bypass_pods and config.manifests:
        yield "the API alone says which Pods there are, not `manifests`; next: bypass_cgroups - at `$.bypass_pods`"
    for text in config.bypass_cgroups:
        if not _is_cgroup_pattern(text):
            yield f"{short(text)} is not like system.slice/proxy-*.service, without .. and ** - at `$.bypass_cgroups`"


def _is_cgroup_pattern(text: str) -> bool:
    """Return whether a pattern names cgroups below the node's. `**` would have all looked through, again and again."""
    names = text.strip("/").split("/")
    return not {"", ".", "..", "**"} & set(names)
