"""Cgroups that the hooks leave out: pods by a label, and whatever the configuration names by a pattern.

    bypass: twice a second: what is to be left out, brought into the kernel's table, and told in the report
    labels: which Pods say so, by their own label or their Namespace's (pure)
    places: cgroups below the node's: by pattern, by Pod, by id

The table itself is `socklb.datapath.left_out`; decision 0015 has the reasons.

Not promised: a Pod from its first moment. It is left out from the look that finds its cgroup. The agent itself is never
left out.
"""
