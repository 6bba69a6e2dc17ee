"""Steps of a Kubernetes cluster, most of them waits that end with an explanation of what is wrong."""

import shlex
from collections.abc import Generator, Sequence

from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host
from pyinfra.context import inventory as hosts

from inventory.hosts import short_name
from roles.kubectl import FOLDER, KUBECTL, Nodes, cluster
from roles.kubernetes.facts import (
    KUBE_PROXY,
    KUBE_PROXY_BACKUP,
    KUBE_PROXYS_RULES,
    OWN_KUBECTL,
    SECRET,
    AgentAccount,
    DnsNodes,
    KubeProxy,
    KubeProxyImage,
    KubeProxyRules,
    NodeIsReady,
    NotRolledOut,
    OthersTranslate,
    Translated,
)
from roles.operations import failure

PATIENCE = "180s"
SHOWN = 10  # connections that are listed
# Fields that an API server adds to an object, and refuses in a new one.
NOT_OF_ITS_TEXT = r"'/^  \(creationTimestamp\|generation\|resourceVersion\|uid\):/d; /^status:/,$d'"


@operation()
def nodes_have_pod_cidrs() -> Generator[StringCommand, None, None]:
    """Wait for kube-controller-manager to give every Node its part of the pod network."""
    nodes = host.get_fact(Nodes)
    if nodes and all(node["pod_cidrs"] for node in nodes.values()):
        host.noop("every Node has its pod CIDRs")
    else:
        yield StringCommand(f"{KUBECTL} wait --for=jsonpath={{.spec.podCIDRs}} nodes --all --timeout={PATIENCE}")


@operation()
def untainted() -> Generator[StringCommand, None, None]:
    """Remove the taint by which kubeadm keeps pods off the control plane."""
    tainted = [name for name, node in host.get_fact(Nodes).items() if node["tainted"]]
    if tainted:
        yield StringCommand(f"{KUBECTL} taint nodes {shlex.join(tainted)} {Nodes.taint}-")
    else:
        host.noop("no Node has the taint")


@operation()
def agents_token_is_there() -> Generator[StringCommand, None, None]:
    if host.get_fact(AgentAccount):
        host.noop("the token is there")
    else:
        yield StringCommand(f"{KUBECTL} wait --for=jsonpath={{.data.token}} {SECRET} --timeout={PATIENCE}")


@operation()
def node_is_ready(patience: str = PATIENCE) -> Generator[StringCommand, None, None]:
    """Wait for this host's Node; if it does not become Ready, show the last messages of kubelet and containerd."""
    if host.get_fact(NodeIsReady):
        host.noop("the Node is Ready")
        return
    wait = f"{OWN_KUBECTL} wait --for=condition=Ready node/$(hostname) --timeout={patience}"
    journals = "; ".join(
        f"echo 'The last lines of {unit}:'; journalctl --no-pager --quiet --output cat --lines 15 --unit {unit}"
        for unit in ("kubelet", "containerd")
    )
    yield StringCommand(f"{wait} || {{ {{ {journals}; }} >&2; exit 1; }}")


@operation()
def dns_spread() -> Generator[StringCommand, None, None]:
    """Make one pod of coredns anew if all are on one of several Nodes, such as on the first, which was the only one.

    It prefers Nodes that have none. If all were made anew at once, all could go to one other Node. If all are lost with
    one Node, nobody has DNS for five minutes.
    """
    nodes = [name for name, node in host.get_fact(Nodes).items() if node["ready"] and not node["cordoned"]]
    if len(nodes) > 1 and len(host.get_fact(DnsNodes)) == 1:
        dns = f"{KUBECTL} --namespace kube-system"
        one = f"$({dns} get pods --selector k8s-app=kube-dns --output name | head -n 1)"
        yield StringCommand(f"{dns} delete --timeout={PATIENCE} {one}")
    else:
        host.noop("it is on two, or there is but one")


@operation()
def rolled_out(objects: Sequence[str]) -> Generator[StringCommand, None, None]:
    """Wait until these (`namespace kind/name`) are ready; if one does not become ready, show its pods' last events."""
    missing = host.get_fact(NotRolledOut, objects=objects)
    if not missing:
        host.noop(f"ready: {', '.join(objects)}")
        return
    status = f"{KUBECTL} rollout status --timeout={PATIENCE} --namespace"
    events = (
        f"{KUBECTL} get pods --all-namespaces --output wide; "
        f"{KUBECTL} get events --all-namespaces --sort-by=.lastTimestamp | tail -n 15"
    )
    waits = " && ".join(f"{status} {one}" for one in missing)
    yield StringCommand(f"{{ {waits}; }} || {{ {{ {events}; }} >&2; exit 1; }}")


@operation()
def dependants_told() -> Generator[StringCommand, None, None]:
    """Report which connections this node still translates, packet by packet: older than the hooks, or from clients
    outside.

    Nothing is changed.
    """
    found = host.get_fact(Translated)
    logger.info("%s%d connections are translated on the packet", host.print_prefix, len(found))
    for one in found[:SHOWN]:
        logger.info("%s  %s", host.print_prefix, one)
    host.noop("nothing to change")
    yield from ()


@operation()
def translated_live_on() -> Generator[StringCommand, None, None]:
    """Fail on a node whose translated connections would end with kube-proxy's rules: the last that need tracking."""
    found = host.get_fact(Translated)
    if not found or not host.get_fact(KubeProxyRules) or host.get_fact(OthersTranslate):
        host.noop("no connection depends on kube-proxy's rules alone")
        return
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    yield failure(
        f"{host.name}: connections would end with kube-proxy's rules, for no other rule there translates addresses: "
        f"{', '.join(found[:SHOWN])}{more}. Its rules stay until these have ended. Next: the same command then; "
        "conntrack -D --dst-nat --proto tcp on that node ends them now"
    )


@operation()
def every_node_has_passed() -> Generator[StringCommand, None, None]:
    """Stop, called on all hosts, if a node has failed or is left out: kube-proxy goes from all or from none."""
    there = hosts.get_active_hosts()
    if away := sorted(short_name(one) for one in hosts.get_group("nodes") if one not in there):
        names = ", ".join(away)
        yield failure(
            f"{names} failed, see above, or is not in this run: kube-proxy stays, on every node. "
            f"Next: mend {names}; the same command again, for all"
        )


@operation()
def kube_proxy_removed() -> Generator[StringCommand, None, None]:
    """Remove the DaemonSet and keep its text, from which it can be created again.

    Its rules stay, and serve, until kube_proxys_rules_removed().
    """
    if not host.get_fact(KubeProxy):
        host.noop("there is no kube-proxy")
        return
    yield StringCommand(f"mkdir -p {FOLDER} && {KUBECTL} get {KUBE_PROXY} --output yaml >{KUBE_PROXY_BACKUP}")
    yield StringCommand(f"sed -i {NOT_OF_ITS_TEXT} {KUBE_PROXY_BACKUP}")
    yield StringCommand(f"{KUBECTL} delete {KUBE_PROXY} --cascade=foreground --timeout={PATIENCE}")


@operation()
def kube_proxys_rules_removed() -> Generator[StringCommand, None, None]:
    """Let kube-proxy itself remove its rules: it knows all modes that it ever had. It does not tell of what it left."""
    if not host.get_fact(KubeProxyRules):
        host.noop("no rules of a kube-proxy are there")
        return
    image = cluster().get_fact(KubeProxyImage)
    if not image:
        yield failure(f"{host.name} has rules of a kube-proxy whose image is unknown. Next: kube-proxy --cleanup there")
        return
    run = "ctr --namespace k8s.io run --rm --privileged --net-host --cgroup ''"  # which would leave its parent
    yield StringCommand(f"{run} {shlex.quote(image)} socklb-kube-proxy-cleanup kube-proxy --cleanup")
    why = (
        f"{host.name}: kube-proxy --cleanup left rules of its own, as it does where nft put rules in that iptables "
        "cannot read. Next: iptables-save, there, which names the table; take those out; the same command again"
    )
    yield StringCommand(f'[ -z "$({KUBE_PROXYS_RULES})" ] || {{ echo {shlex.quote(why)} >&2; exit 1; }}')
