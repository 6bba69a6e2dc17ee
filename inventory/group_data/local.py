"""Data of every host in inventory/local.py."""

sealed = True  # no way to a package server: what a node lacks must be installed on the host
