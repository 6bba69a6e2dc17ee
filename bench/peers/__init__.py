"""socklb's agent beside the real kube-proxy: what each takes to follow the same Kubernetes API.

    part: the measurement, and its figures
    place: the control plane's network, and a node with a client and servers for each peer
    programs: how the agent and kube-proxy are started and stopped
    usage: the CPU time and the memory of a program and its children
    client, server: the programs at both ends of every connection

Not promised: the kernel's work after a transaction of rules (it frees the old ones in a thread of its own), and the
memory of rules and tables in the kernel. Neither is counted for anybody.
"""
