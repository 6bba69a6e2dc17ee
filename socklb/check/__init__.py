"""Does this node serve? Real connections, by everybody who might make them, that harm nobody (`socklb check`).

    checks: everything that is tried, one kind after the other
    node: what there is to try, as the kernel's tables have it
    sealed: a network namespace that nothing leaves: a pod, as far as the hooks can tell
    asking: connections from the node itself, over the network of the cluster
    result: what came of one thing that was tried, and the same as JUnit XML
    all_nodes: the same on every node, by kubectl

Not promised: every Service. Of many, some are tried, each once, with two seconds for an answer.
"""
