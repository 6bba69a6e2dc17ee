"""socklb: Services are resolved at connect(), not on the packet.

The layers from top to bottom. Each one imports those below it and none above it; those in one line do not import each
other. `[tool.importlinter]` in pyproject.toml holds this, and docs/architecture.md draws it.

    __main__: `python -m socklb`, where no script was installed
    cli: the `socklb` command, one module per verb
    agent, bugreport, check: the agent of a node; an archive for a maintainer; connections that are really tried
    explain: what would become of one connection, step by step
    status: the report of a node as text, and what is true where no agent runs
    health, bypass: probes, metrics and alarms; the cgroups that the hooks leave out
    routes, sockets, tc: routes to other nodes' pods; live sockets; the packet path at the node's devices
    desired: the tables that should be, decided without the kernel
    config: the configuration, checked
    api, datapath: Kubernetes objects, from a folder or the API server; the socket hooks and the kernel's tables
    config_file, control_socket, listen_address, model, netfilter, report: what several layers share
    clock, command, errors, lines, memory, netlink: helpers that know nothing of the others
    libc: the C library

The eBPF programs are not here but in bpf/; the wheel carries their objects in socklb/datapath/.
"""

__version__ = "0.2.0"
