"""The tools on every machine with which people inspect the network, and which labs use."""

from pyinfra.api.deploy import deploy

from roles.operations import tools

PACKAGES = {"tcpdump": "tcpdump", "ping": "iputils-ping", "netstat": "net-tools", "curl": "curl", "python3": "python3"}


@deploy("base")
def base() -> None:
    tools(name="Tools to look at the network", packages=PACKAGES)
