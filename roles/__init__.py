"""What a node consists of, one role per folder, as operations of pyinfra. deploys/ puts them in order.

    preflight, machine: machines over SSH: what would fail later; what a machine was like, so that it can be put back
    container_runtime, kubernetes_packages: containerd; kubelet, kubeadm and kubectl
    control_plane, worker: `kubeadm init` and `kubeadm join`
    virtual_address: the address of the API that moves between machines of the control plane, by keepalived
    base, node: tools to look at the network; names, forwarding, and routes to the other nodes' pods
    kubernetes: what a cluster of Kubernetes needs as a whole, and the wait until it is ready
    pods, workload: pods by the CNI protocol; real servers in them, and their Services as YAML
    upgrade: a new version of Kubernetes on machines over SSH, one after the other
    agent: the agent: its bundle, its configuration, its service
    baseline: the ordinary way, flannel and kube-proxy, and its removal
    lab: a lab's steps as operations
    operations, facts, kubectl, templates: what several roles use

Not promised: that a role stands alone. Its README says which data it reads, what it changes and how to check it.
"""
