"""Data of every host in every inventory."""

# The Services that the workload role announces. Kinds of pods serve them: `web` and `dns` (see `pods` of each host).
services = {
    "web": {
        "addresses": ["10.96.0.10", "fd00:10:96::a"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 32000}],
    },
    "dns": {
        "addresses": ["10.96.0.53", "fd00:10:96::35"],
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
            {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
        ],
    },
    "empty": {
        "addresses": ["10.96.0.99", "fd00:10:96::99"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
    },
}
