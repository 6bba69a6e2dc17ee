"""The packet path: programs at the node's devices for what no socket hook sees. The programs are bpf/packets.bpf.c.

    path: the packet path as a whole, looked after by a thread of its own
    programs, layout: the programs, loaded with the tables of the hooks; the bytes of what they alone have
    rtnetlink, devices, lo: devices, addresses and routes; which are uplinks and which lead to pods; when lo is needed
    attached, places, tables: which programs are at which devices now; one such place; the tables about devices
    links, tcx, clsact: programs attached and put back: by tcx links, or as filters of clsact before Linux 6.6
    events: pods whose sockets no hook sees, when they ask for a Service
    flows, resets: the flows that are translated now; flows that are reset because their backend is gone
    seen, played: the packet path by its pins, without the agent; the first packet of a client outside, played
    passed_by: what host routing passes by: rules of netfilter, and IPsec
    takeover: the nftables table of an earlier version, removed once no connection needs it

Not promised: fragments that come before the first one, and SCTP in fragments where the port changes.
"""
