"""Machines that are reached by SSH. Copy this file to inventory/bare_metal.py, and change what is yours in it.

pyinfra inventory/bare_metal.py deploys/cluster.py

Every setting stands here; those behind # have the value that is said there. What they do on a machine, what is asked of
one, and how to go back: docs/bare-metal.md.
"""

from inventory.machines import groups, machine

control_plane, workers, nodes, kubernetes, machines = groups(
    # A machine is its host name and its addresses on the network that the nodes share: IPv4, IPv6 or both. Settings of
    # one machine stand behind them: ssh_hostname (where SSH goes, if that is another address), ssh_port, sudo, ...
    control_plane=[machine("cp", "192.0.2.10", "2001:db8::10")],
    workers=[
        machine("w1", "192.0.2.11", "2001:db8::11"),
        machine("w2", "192.0.2.12", "2001:db8::12", ssh_port=2222),
    ],
    #
    # How to reach them. A bastion, and whatever else OpenSSH can: ssh_config_file with ProxyJump.
    ssh_user="admin",
    sudo=True,  # False for root
    # sudo_password=os.environ["SUDO_PASSWORD"],  # where sudo asks for one; then also: import os
    # ssh_key="~/.ssh/id_ed25519",  # without it, those of the SSH agent and of ~/.ssh
    # ssh_port=22,
    # ssh_known_hosts_file="~/.ssh/known_hosts",
    # ssh_strict_host_key_checking="yes",  # accept-new: trust whoever answers first
    # ssh_config_file="~/.ssh/config",
    #
    # Which Kubernetes, and where its programs and images come from: "kubernetes" is pkgs.k8s.io and registry.k8s.io,
    # "distribution" the package sources that the machines have, and anything else a folder for machines without
    # internet, as images/offline.sh makes one.
    kubernetes_version="1.34",
    source="kubernetes",
    #
    # Networks of the cluster's own, one for each family that the machines have; nobody else may use them.
    pod_cidrs=["10.244.0.0/16", "fd00:10:244::/56"],
    service_cidrs=["10.96.0.0/16", "fd00:10:96::/112"],
    # With three machines in control_plane, one may be lost. The API then needs an address that is no machine's: one of
    # their network that nobody has, which keepalived moves, or the api_endpoint of a load balancer of yours.
    # virtual_address="192.0.2.9",
    # api_endpoint="192.0.2.10:6443",
    # external_ips=["203.0.113.0/24", "2001:db8::/32"],  # that Services may have as externalIPs
    #
    # The image of the workload's pods: nginx, dnsmasq, curl, dig. images/tools.sh makes this one.
    # tools_image="socklb/tools:1",
    # lowers_oom_scores=True,  # False for machines that are containers
    # unhooked_slice=False,  # True: a control for labs, at 40 ns for each connect (docs/bare-metal.md, "Labs")
    # keep=[],  # folders that teardown leaves, such as /var/lib/etcd
)
