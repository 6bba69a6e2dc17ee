"""Data of every host in inventory/local.py."""

sealed = True  # no way to a package server: what a node lacks must be installed on the host
external_ips = ["203.0.113.0/24", "2001:db8::/32"]  # documentation addresses, which nobody else has
