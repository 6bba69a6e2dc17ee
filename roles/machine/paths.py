"""What the roles write on a machine over SSH: recorded before the first change, restored by teardown.

A folder of FOLDERS that existed before stays, and the files in it that are named here are restored.
"""

STATE = "/var/lib/socklb/machine"
BEFORE = f"{STATE}/before"
SNAPSHOTS = "/var/lib/socklb/etcd"

FILES = (
    "/etc/hosts",
    "/etc/apt/apt.conf.d/50socklb",
    "/etc/apt/keyrings/kubernetes.asc",
    "/etc/apt/preferences.d/kubernetes",
    "/etc/apt/sources.list.d/kubernetes.list",
    "/etc/apt/sources.list.d/socklb.list",
    "/etc/cni/net.d/10-socklb.conflist",
    "/etc/containerd/config.toml",
    "/etc/modules-load.d/socklb.conf",
    "/etc/sysctl.d/99-socklb.conf",
    "/etc/systemd/system/kubelet.service",
    "/etc/systemd/system/socklb-agent.service",
    "/etc/systemd/system/multi-user.target.wants/kubelet.service",
    "/etc/systemd/system/multi-user.target.wants/socklb-agent.service",
    "/usr/local/bin/kubeadm",
    "/usr/local/bin/kubectl",
    "/usr/local/bin/kubelet",
    "/usr/local/bin/socklb",
    "/var/log/socklb.log",
    "/var/log/socklb-kubeadm.log",
)
FOLDERS = (
    "/etc/cni",
    "/etc/containerd",
    "/etc/keepalived",
    "/etc/kubernetes",
    "/etc/socklb",
    "/opt/cni",
    "/opt/containerd",
    "/opt/socklb",
    "/root/.kube",  # kubectl's cache of the API
    "/run/cni-ipam-state",
    "/run/containerd",
    "/run/flannel",
    "/run/socklb",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    SNAPSHOTS,
    "/var/log/containers",
    "/var/log/pods",
)
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",  # kubeadm requires it: each pod's device starts with it
}
