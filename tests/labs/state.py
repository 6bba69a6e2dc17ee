"""What a lab may change of the cluster, to be the same before it and after it."""

import json

from tests.support.cluster import Cluster

# The machine is shared with other tests: of its own folders, what a deploy or a lab makes there.
LOOK = """
cd / && sha256sum etc/socklb/*.toml etc/socklb/manifests/* && ls -d tmp/lab* opt/socklb* opt/cni* 2>/dev/null
cat /run/socklb/*.pid | wc -l && nft list ruleset && ip -o route && ip -o -6 route show table main proto static
ls /run/netns /run /dev && ls /etc | grep -E "baseline|cni|flannel|kube|socklb"; ls /sys/class/net | grep -v ^veth
"""


def state(cluster: Cluster) -> dict[str, str]:
    """Return it of every node: configuration, manifests, files of labs, rules, routes, pods, and what serves."""
    nodes = cluster.nodes | {"outside": cluster.node("outside")}
    seen = {name: node.run("sh", "-c", LOOK).stdout for name, node in nodes.items()}
    for name, node in cluster.nodes.items():
        status = json.loads(node.output("socklb", "status", "--json"))
        hooks = [hook["name"] for hook in status["hooks"] if hook["effective"]]
        seen[name] += f"{status['agent']['version']} {status['synced']} {status['problems']} {hooks}"
        seen[name] += node.output("socklb", "service", "list")
    return seen
