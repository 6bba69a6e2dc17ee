"""Every figure that the README states: `python -m bench`, as root.

    __main__: which parts there are, and how much of each is measured
    latency, latency_report: what an application waits for, against no Service; the tables of it
    columns, ways: what is measured beside each other; from where to where
    networks, node: two nodes, pods and a client in network namespaces; socklb on one of them
    services, nftables, iptables: the Services that are asked, and rules of kube-proxy's shape for them
    hooks, packets, verifier: nanoseconds of each hook; what the packet path takes besides; what the verifier takes
    control, control_run, objects: the agent's CPU and memory for so many Services, and the objects it gets
    sync, api, agents: from a file, or a write to a real API server, to the kernel's tables, by an agent of its own
    peers, upgrade: the agent beside the real kube-proxy, on one API server; what clients notice of a restart
    memory, progress, table: what /proc says of a process; progress on stderr; Markdown tables
    figures, runs, compare: the one shape of all figures; a run as a file; two runs beside each other
    page, plots: docs/performance.md and its pictures, from a run

Not promised: figures of another machine. Compare ratios of one run; docs/benchmarks.md says what they do not show.
"""
