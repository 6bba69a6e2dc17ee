"""The tables that should be, decided from the objects of the cluster without asking the kernel.

    store: what the cluster says at present, and which Services and Nodes a change affects
    endpoints: who may serve a port of a Service: policies, hints, readiness
    service_addresses, annotations: where clients ask for a Service; what its annotations ask for
    service_plan: one Service as frontends with their backends, one Node as its addresses
    plan: all of them together: a change of the store in, a Difference out
    network_flags: what the packet path is to know of networks
    unserved: why something that is there serves nothing, in one line each
    catalog, cataloguer, names: which Service holds which frontend: the file, who writes it, and who reads it
    at_frontend: what is wanted at one frontend, for `socklb explain`

Not promised: that the kernel has it. `socklb.datapath.writer` brings a Difference there. The modules from `endpoints`
to `unserved` are pure.
"""
