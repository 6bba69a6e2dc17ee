"""What would become of one connection, step by step, and why: `socklb explain`.

    explanation: the whole: the steps, the verdict, and one sentence
    asker: who asks: this command, a pod, a process, a cgroup, or a client outside
    tables: the kernel's tables, asked for one key at a time as the programs do
    trail: the steps, each with what was read
    by_hooks: the socket hooks: bpf/translate.h and bpf/choose.h
    by_packets, handed_on: the packet path: bpf/begin.h and bpf/serve.h; host routing: bpf/host_routing.h
    differences: where the kernel's tables are not as the API wants them
    sentence: a verdict in words (pure)

Not promised: the fate of a live socket or flow. A fresh one is explained, and nothing is sent.
"""
