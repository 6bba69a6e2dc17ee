"""Takes the Services of a cluster over from its kube-proxy, in two steps; no connect fails in either.

pyinfra inventory/kind.py deploys/adopt.py --data adopt=yes                            for sockets, kube-proxy stays
pyinfra inventory/kind.py deploys/adopt.py --data adopt=yes --data kube_proxy=remove   packets too; kube-proxy goes

After the first step, new connections of pods and nodes pass none of kube-proxy's rules; it reports which older ones do.
The network plugin, workload and taints of the cluster are left alone.
"""

from pyinfra.context import host

from roles.agent import agent
from roles.kubernetes import account, dependants, kube_proxy_gone, of_kubeadm
from roles.operations import barrier

is_node = "nodes" in host.groups

of_kubeadm()
account()
barrier(name="The agent has its account")
if is_node:
    agent()
barrier(name="Every agent serves")
if is_node:
    dependants()
barrier(name="It is told what depends on kube-proxy")
if is_node and host.data.get("kube_proxy") == "remove":
    kube_proxy_gone()
