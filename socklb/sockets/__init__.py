"""Live sockets of the node and the backends that the hooks gave them: listed, counted, moved, ended.

    records, served: what the hooks wrote down about a socket; who serves a frontend at this moment
    diag, networks, descriptors: sockets as the kernel lists them; network namespaces; who has a socket open
    listing: every live socket that was given a backend
    pods, names: whose a socket is; which Service it asked for, and what became of its backend
    shown, watching, deciding: the rows of `socklb socket list`; the agent's stream of decisions, and its rows
    follower, moving: connected UDP sockets get another backend when theirs leaves the Service
    resetting, ending: connections are reset where a Service asks for it (`socklb.io/on-removal`)
    ended: sockets that ended while no release hook ran
    counted: connections by Service and backend, for the metrics

Not promised: every socket. A socket without a port that no process has open is not found. Whoever connected to a pod's
address without a Service has no record and is left alone.
"""
