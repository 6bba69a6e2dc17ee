"""The socket hooks and the tables that they and the packet path read: loaded, attached, written and kept whole.

    node_datapath: everything below, opened for one node by its one writer
    writer: the tables as frontends and the backends that serve them: a Difference goes in
    published, backend_sets, shares, waiting: frontends and their rows; sets; how much fits; what found no room
    allocator, barrier: which rows are taken; waiting until no program can still read what was withdrawn
    known_addresses, address_filter, networks, source_ranges, connection_counts, left_out: one other table each
    layout, maps, libbpf: the bytes of bpf/types.h; hashes and mapped arrays; the binding to libbpf
    loading, sizes, growth, room: an object with the pinned tables; how large; larger ones; when they grow
    features, kernel, own_network: what this kernel lacks, what its types say, the node's network namespace
    mounts, pins, lock, older: bpffs and cgroup v2; where pins are; one agent at a time; tables of another schema
    unpinned: tables that lost their pins, found in programs that run
    hooks, links, keeper, foreign: the hooks by their pins; their links; repair; programs of other owners
    asking: a connect of our own that the hooks must translate
    observing, decisions, counts, dump, constants, capabilities: what is read back, and what a refusal was about

Not promised: two writers. Whoever writes holds the lock. Nothing here knows Kubernetes objects.
"""
