"""The tools that a person needs on every node to look at the network."""

from pyinfra.api.deploy import deploy

from roles.operations import tools

PACKAGES = {"tcpdump": "tcpdump", "ping": "iputils-ping", "netstat": "net-tools", "curl": "curl"}


@deploy("base")
def base() -> None:
    tools(name="Tools to look at the network", packages=PACKAGES)
