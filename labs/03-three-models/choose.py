"""A client that needs nobody to translate: it reads the EndpointSlices of a Service and picks a pod itself.

python3 - web < choose.py        {"known": 3, "chosen": "10.244.2.3:8080", "answer": "web-2"}
"""

import base64
import http.client
import json
import random
import ssl
import sys
from pathlib import Path

ACCOUNT = Path("/etc/baseline/client.kubeconfig")  # a kubeconfig as JSON
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3D"


def endpoints(service: str) -> list[tuple[str, int]]:
    """Return where the pods of a Service listen that are ready, as the API server knows it now."""
    account = json.loads(ACCOUNT.read_text())
    cluster, user = account["clusters"][0]["cluster"], account["users"][0]["user"]
    trusted = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    address = cluster["server"].removeprefix("https://")
    server = http.client.HTTPSConnection(address, timeout=2, context=trusted)
    server.request("GET", SLICES + service, headers={"Authorization": f"Bearer {user['token']}"})
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


known = endpoints(sys.argv[1])
address, port = random.choice(known)
print(json.dumps({"known": len(known), "chosen": f"{address}:{port}", "answer": ask(address, port)}))
