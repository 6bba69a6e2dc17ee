"""Data of every host in inventory/local.py."""

sealed = True  # no access to a package server: missing packages must be installed on the host
cluster_cidrs = ["10.244.0.0/16", "fd00:10:244::/56"]  # each node has a part: its `pod_cidrs`
service_cidrs = ["10.96.0.0/16", "fd00:10:96::/112"]
external_ips = ["203.0.113.0/24", "2001:db8::/32"]  # documentation addresses, which nobody else has
