"""Routes to the pods of the other nodes, by each node's own address: native routing, without a tunnel.

    pod_networks: which Node has which network of pods, as far as the configuration lets it claim one (pure)
    node_routes: the routes themselves: made, looked at, put back

Not promised: a way to Nodes of another network. A node that is not a neighbour gets no route and is named among the
problems. A route of anybody else is not touched, except one that replaced ours. The routes stay when the agent stops.
"""
