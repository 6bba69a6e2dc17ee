"""A real etcd, kube-apiserver and kube-controller-manager on 127.0.0.1, with data in a folder of the test's own.

    with ControlPlane(programs, home) as plane:
        plane.create("/api/v1/namespaces/default/services", {...})
        plane.kill("kube-apiserver")
        plane.start("kube-apiserver")

It has no nodes and no network: nobody ever connects to the addresses of its Services. `address` is for clients in other
network namespaces.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3

from rig.objects import ACCOUNTS
from rig.ports import free_ports

ADMIN = "admin-of-the-tests"
WAIT = 60.0  # seconds until a program must answer
AUDIT = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class ControlPlane:
    """See the module."""

    def __init__(self, programs: Path, home: Path, *, streaming_lists: bool = True, address: str = "127.0.0.1") -> None:
        self.programs, self.home, self._address = programs, home, address
        self._gates = f"--feature-gates=WatchList={str(streaming_lists).lower()}"
        self.port, self.etcd_port, self._peer_port, self._manager_port = free_ports(4)
        self.server = f"https://{address}:{self.port}"
        self.ca = home / "certificates" / "apiserver.crt"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._pool: urllib3.PoolManager | None = None

    def __enter__(self) -> Self:
        self._write_files()
        for program in ("etcd", "kube-apiserver", "kube-controller-manager"):
            self.start(program)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in list(self._running):
            self.kill(program)

    def start(self, program: str) -> None:
        """Start one of the three and wait until it answers."""
        with (self.home / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(
                [self.programs / program, *self._arguments(program)], stdout=log, stderr=log, cwd=self.home
            )
        self._until_ready(program)

    @property
    def pids(self) -> list[int]:
        """Return those of its processes that were started and not ended."""
        return [process.pid for process in list(self._running.values())]

    def kill(self, program: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one of the three and wait for its end."""
        process = self._running.pop(program)
        process.send_signal(number)
        process.wait(WAIT)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object and return it as created."""
        return self.request("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Merge a patch into an object."""
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Delete an object."""
        self.request("DELETE", path)

    def get(self, path: str) -> dict[str, Any]:
        """Return an object or a list."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request as administrator; it is repeated while the server is not available."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"authorization": f"Bearer {ADMIN}", "content-type": kind}
        end = time.monotonic() + WAIT
        done_before = {"POST": 409, "DELETE": 404}.get(method)  # by a request whose answer did not arrive
        again = False
        while True:
            try:
                answer = self._pool_now().request(
                    method, self.server + path, headers=headers, body=json.dumps(body) if body else None, retries=False
                )
            except urllib3.exceptions.HTTPError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
                again = True
                continue
            if answer.status < 300 or (again and answer.status == done_before):
                return answer.json()
            if answer.status not in {429, 500, 503, 504} or time.monotonic() > end:
                raise RuntimeError(f"{method} {path}: {answer.status} {answer.data.decode()}")
            again = True
            time.sleep(0.1)

    def apply(self, manifest: Path) -> None:
        """Apply a file as a user would."""
        self.kubectl("apply", "-f", str(manifest))

    def kubectl(self, *words: str, check: bool = True) -> str:
        """Run kubectl as administrator and return its output."""
        command = [self.programs / "kubectl", "--kubeconfig", self.kubeconfig("admin", ADMIN), *words]
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=WAIT).stdout

    def kubeconfig(self, name: str, token: str, *, server: str = "", ca: Path | None = None) -> Path:
        """Write a kubeconfig whose token is in a file beside it, and return its path."""
        token_file = self.home / f"{name}.token"
        token_file.write_text(token)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "tests",
                    "cluster": {"server": server or self.server, "certificate-authority": str(ca or self.ca)},
                }
            ],
            "users": [{"name": name, "user": {"tokenFile": str(token_file)}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        }
        path = self.home / f"{name}.kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def asked(self, agent: str = "socklb/") -> list[dict[str, Any]]:
        """Return a client's requests, from the server's audit log."""
        events = map(json.loads, (self.home / "audit.log").read_text().splitlines())
        requests = {event["auditID"]: event for event in events if event.get("userAgent", "").startswith(agent)}
        return list(requests.values())  # in the order of their beginning: a watch has another event at its end

    def compact(self) -> None:
        """Make etcd forget all but the present state, as it does every five minutes."""
        url = f"http://127.0.0.1:{self.etcd_port}/v3"
        at = urllib3.request("POST", f"{url}/kv/range", body=json.dumps({"key": "AA=="})).json()["header"]["revision"]
        urllib3.request("POST", f"{url}/kv/compaction", body=json.dumps({"revision": at, "physical": True}))

    def _pool_now(self) -> urllib3.PoolManager:
        if self._pool is None:
            self._pool = urllib3.PoolManager(ca_certs=str(self.ca), maxsize=16)
        return self._pool

    def _write_files(self) -> None:
        key = self.home / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (self.home / "tokens.csv").write_text(f'{ADMIN},admin,admin,"system:masters"\n')
        (self.home / "audit.yaml").write_text(AUDIT)

    def _arguments(self, program: str) -> list[str]:
        etcd = f"http://127.0.0.1:{self.etcd_port}"
        match program:
            case "etcd":
                peer = f"http://127.0.0.1:{self._peer_port}"
                return [
                    f"--data-dir={self.home / 'etcd'}",
                    f"--listen-client-urls={etcd}",
                    f"--advertise-client-urls={etcd}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=default={peer}",
                    "--unsafe-no-fsync",
                ]
            case "kube-apiserver":
                return [
                    f"--etcd-servers={etcd}",
                    self._gates,
                    f"--bind-address={self._address}",
                    f"--secure-port={self.port}",
                    "--advertise-address=192.0.2.1",  # not published: there is no reconciler
                    "--endpoint-reconciler-type=none",
                    f"--cert-dir={self.home / 'certificates'}",
                    "--service-cluster-ip-range=10.96.0.0/12,fd00:10:96::/112",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    f"--service-account-key-file={self.home / 'service-account.key'}",
                    f"--service-account-signing-key-file={self.home / 'service-account.key'}",
                    f"--token-auth-file={self.home / 'tokens.csv'}",
                    "--authorization-mode=RBAC",
                    "--disable-admission-plugins=ServiceAccount",
                    f"--audit-policy-file={self.home / 'audit.yaml'}",
                    f"--audit-log-path={self.home / 'audit.log'}",
                ]
            case _:
                return [
                    f"--kubeconfig={self.kubeconfig('manager', ADMIN)}",
                    "--bind-address=127.0.0.1",
                    f"--secure-port={self._manager_port}",
                    "--controllers=endpointslice-controller",
                    "--leader-elect=false",
                ]

    def _until_ready(self, program: str) -> None:
        if program == "kube-apiserver":
            self._until(self._server_is_ready, program)
        elif program == "etcd":
            self._until(lambda: answers(self.etcd_port), program)

    def _server_is_ready(self) -> bool:
        headers = {"authorization": f"Bearer {ADMIN}"}
        return self.ca.exists() and (
            self._pool_now().request("GET", f"{self.server}/readyz", headers=headers, retries=False).status == 200
        )

    def _until(self, true: Callable[[], bool], program: str) -> None:
        end = time.monotonic() + WAIT
        while not _quietly(true):
            if self._running[program].poll() is not None or time.monotonic() > end:
                log = (self.home / f"{program}.log").read_text()
                raise RuntimeError(f"{program} does not answer:\n{log[-3000:]}")
            time.sleep(0.1)


def _quietly(true: Callable[[], bool]) -> bool:
    try:
        return bool(true())
    except (OSError, urllib3.exceptions.HTTPError, RuntimeError, ValueError):
        return False


def answers(port: int) -> bool:
    """Return whether a program listens there."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def agent_token(plane: ControlPlane) -> str:
    """Return a token of the agent's ServiceAccount, whose rights are those in rbac.yaml."""
    answer = plane.create(f"{ACCOUNTS}/socklb/token", {"spec": {"expirationSeconds": 3600}})
    return str(answer["status"]["token"])
