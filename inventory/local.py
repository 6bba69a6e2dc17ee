"""The default inventory: four nodes on this machine, as network namespaces on a bridge that leads nowhere else.

Data of a host: its `addresses` on the nodes' network; `pod_cidrs`, from which its pods get their addresses; `pods`,
from name to kind.
"""

control_plane = [
    (
        "@netns/cp",
        {
            "addresses": ["172.18.0.2/24", "fd00:172:18::2/64"],
            "pod_cidrs": ["10.244.0.0/24", "fd00:10:244:0::/64"],
            "pods": {"web-3": "web"},
        },
    ),
]
workers = [
    (
        "@netns/w1",
        {
            "addresses": ["172.18.0.3/24", "fd00:172:18::3/64"],
            "pod_cidrs": ["10.244.1.0/24", "fd00:10:244:1::/64"],
            "pods": {"client": "client", "web-1": "web", "dns-1": "dns"},
        },
    ),
    (
        "@netns/w2",
        {
            "addresses": ["172.18.0.4/24", "fd00:172:18::4/64"],
            "pod_cidrs": ["10.244.2.0/24", "fd00:10:244:2::/64"],
            "pods": {"client-2": "client", "web-2": "web", "dns-2": "dns"},
        },
    ),
]
nodes = control_plane + workers
outside = [("@netns/outside", {"addresses": ["172.18.0.9/24", "fd00:172:18::9/64"]})]
