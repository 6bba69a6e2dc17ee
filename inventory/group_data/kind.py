"""Data of every host in inventory/kind.py: the cluster that kind is to make, and what runs in it.

`--data kind_image=kindest/node:v1.34.3` and the like take precedence; the names and number of nodes can be changed only
here, because the inventory is read before.
"""

from inventory.group_data import all as _all

kind_cluster = "socklb"
kind_workers = 2
kind_image = "socklb/node:v1.34.4"  # must be in docker: `make kind-image`, or `docker pull` for kindest/node
kind_api_port = 0  # on 127.0.0.1 of docker's machine; 0: any free port
kube_proxy_mode = "none"

pod_cidrs = ["10.244.0.0/16", "fd00:10:244::/56"]  # of the cluster; Kubernetes gives each node a part
service_cidrs = ["10.96.0.0/16", "fd00:10:96::/112"]
external_ips = ["203.0.113.0/24", "2001:db8::/32"]  # documentation addresses, which nobody else has

tools_image = "socklb/tools:1"  # nginx, dnsmasq, curl, dig and others; part of the node image

services = {
    **_all.services,
    "web": {
        **_all.services["web"],
        "addresses": ["10.96.0.80", "fd00:10:96::80"],
    },  # .10 is the cluster's own DNS server
}
