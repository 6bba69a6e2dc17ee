"""The agent of one node: it brings what the source says into the kernel's tables, and keeps it there.

    agent: its parts, and the way of a batch: store, plan, tables, hooks, packet path
    supervise: everything that runs in the agent, started again when it fails, and told of in the report
    hook_watch, connect_check: whether the hooks are attached and whole; whether they really translate
    leftovers: traces of a kube-proxy on this node
    answers, monitors: the agent's Unix socket; whoever watches what the hooks decide
    reporter, problems: the report of a running agent; its problems over time

Not promised: that anything stops when the agent does. Maps and hooks are pinned and go on working.
"""
