"""The credentials for the API server, from a kubeconfig or a pod's ServiceAccount.

    client = load("/etc/socklb/kubeconfig")

Credentials, TLS and token refresh are left to the official client; its models are not used, because they are slow and
large.
"""

from __future__ import annotations

from typing import Any

from kubernetes import client, config

from socklb.errors import SocklbError

CONNECTIONS = 8  # kept for later requests


def load(kubeconfig: str) -> Any:
    """Return a client for the file's present contents; without a file, for the ServiceAccount of this pod.

    Raises:
        SocklbError: there are no credentials, or they cannot be read.
    """
    found: Any = client.Configuration()
    try:
        if kubeconfig:
            config.load_kube_config(kubeconfig, client_configuration=found)  # type: ignore[reportUnknownMemberType]
        else:
            config.load_incluster_config(client_configuration=found)  # type: ignore[reportUnknownMemberType]
        found.keep_alive = True
        found.connection_pool_maxsize = CONNECTIONS
        return client.ApiClient(found)
    except Exception as error:  # a half-written file: errors of YAML, of the client, TypeError, …
        raise _unusable(kubeconfig, error) from error


def _unusable(kubeconfig: str, error: Exception) -> SocklbError:
    reason = " ".join(str(error).split())
    if kubeconfig:
        hint = f"a kubeconfig with a current context; try: kubectl --kubeconfig {kubeconfig} get services"
        return SocklbError(f"cannot use the kubeconfig: {reason}", value=kubeconfig, hint=hint)
    return SocklbError(
        f"no source of Services: {reason}",
        hint="set manifests (a folder) or kubeconfig in the configuration, or run in a pod with a ServiceAccount",
    )
