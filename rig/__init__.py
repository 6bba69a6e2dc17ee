"""Real things for measurements and tests to run against: bench/ and tests/ share them.

    sandbox: a network namespace without a route out, with a cgroup and servers of its own
    agents: a real agent on the sandbox's cgroup, fed from a folder of manifests
    objects: Kubernetes objects as a user would create them
    clock: the time of day of one program, which can be stepped
    ports: free ones, for servers that are told theirs
    control_plane: a real etcd, kube-apiserver and kube-controller-manager on 127.0.0.1

Not promised: a cluster. There are no nodes and no kubelet; tests that need those use an inventory.
"""
