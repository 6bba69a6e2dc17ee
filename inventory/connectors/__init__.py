"""pyinfra's connectors: how a host of the inventory is made, reached and removed while a deploy runs.

    netns: @netns/NAME, a node of the local cluster
    netns_node, fabric, cgroup: that node: its processes and namespaces; the wire between nodes; the cgroups
    kind: @kind/NAME, a node of a kind cluster
    kind_cluster, kind_outside: that cluster, made or found; a client outside it
    machine: @machine/NAME, a machine over SSH
    entering, this_machine: what netns and kind share; what the local cluster uses of this machine
    outside: a command in a node's namespaces but outside its cgroup, where none of its BPF programs is asked

Not promised: a quick import. Four of them (netns, kind, machine, entering) import pyinfra; who only wants to reach a
host uses inventory/ways/.
"""
