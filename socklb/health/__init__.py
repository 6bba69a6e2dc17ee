"""What the agent tells others than its operator: probes, load balancers and Prometheus.

    health: all of it: the addresses that are listened at, and what answers there
    server: small HTTP servers in threads of their own
    progress: whether the agent is in sync, and how long changes take
    proxy_health: /healthz and /livez, as kube-proxy answers them
    service_health: healthCheckNodePort: whether this node has endpoints of a Service
    metrics: /metrics, from the report at the moment of the scrape
    alarms: what an operator must act on, from the report (pure)

Not promised: TLS, or that an address can be listened at. One that cannot be is a problem in `socklb status`, and is
tried again; the agent goes on.
"""
