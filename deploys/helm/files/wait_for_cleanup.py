"""Waits until a DaemonSet is ready on every node. Run by the chart's Job after `helm uninstall`, in the agent's image.

    python3 -Ic "$(cat wait_for_cleanup.py)" NAMESPACE NAME https://192.0.2.10:6443 ...

It asks the API servers by their own addresses, for no Service is served any more. It ends with the DaemonSet ready, and
does not give up; Helm does, by its --timeout.
"""

import itertools
import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def main(namespace: str, name: str, *servers: str) -> None:
    """Ask one server after the other."""
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    for server in itertools.cycle(servers):
        request = urllib.request.Request(f"{server}/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
        request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
        try:
            with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
                found = json.load(answer)
        except OSError as error:
            print(f"{server} says nothing of {name}: {error}", flush=True)
        else:
            status = found["status"]
            ready, wanted = status["numberReady"], status["desiredNumberScheduled"]
            print(f"{ready} of {wanted} nodes are cleaned up", flush=True)
            if status.get("observedGeneration") == found["metadata"]["generation"] and ready == wanted:
                return
        time.sleep(1)


main(*sys.argv[1:])
