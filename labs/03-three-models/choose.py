"""A client that needs nobody to translate: it reads the EndpointSlices of a Service and picks a pod itself.

python3 - 172.18.0.2:6443 web < choose.py        {"known": 3, "chosen": "10.244.2.3:8080", "answer": "web-2"}
"""

import base64
import http.client
import json
import random
import ssl
import sys
from pathlib import Path

OF_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where a kubelet has made the pod
OF_NODE = Path("/etc/baseline/client.kubeconfig")  # elsewhere: a kubeconfig as JSON
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3D"


def account() -> tuple[str, str]:
    """Return the token by which this pod is known to the API server, and the certificate by which it knows that."""
    if OF_POD.exists():
        return (OF_POD / "token").read_text(), (OF_POD / "ca.crt").read_text()
    found = json.loads(OF_NODE.read_text())
    authority: str = found["clusters"][0]["cluster"]["certificate-authority-data"]
    return found["users"][0]["user"]["token"], base64.b64decode(authority).decode()


def endpoints(api: str, service: str) -> list[tuple[str, int]]:
    """Return where the pods of a Service listen that are ready, as the API server knows it now."""
    token, authority = account()
    trusted = ssl.create_default_context(cadata=authority)
    server = http.client.HTTPSConnection(api, timeout=2, context=trusted)
    server.request("GET", SLICES + service, headers={"Authorization": f"Bearer {token}"})
    answer = server.getresponse()
    if answer.status != http.client.OK:
        sys.exit(f"choose.py: the API server says {answer.status} {answer.reason}")
    return [
        (address, port["port"])
        for found in json.load(answer)["items"]
        if found["addressType"] == "IPv4"
        for endpoint in found["endpoints"]
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
        for port in found["ports"]
    ]


def ask(address: str, port: int) -> str:
    pod = http.client.HTTPConnection(address, port, timeout=2)
    pod.request("GET", "/")
    return pod.getresponse().read().decode().strip()


known = endpoints(sys.argv[1], sys.argv[2])
address, port = random.choice(known)
print(json.dumps({"known": len(known), "chosen": f"{address}:{port}", "answer": ask(address, port)}))
