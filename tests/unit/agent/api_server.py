"""A server that answers as a test says: real sockets, and none of Kubernetes' own mind. tests/kube has the real one.

    with ApiServer(answer) as server:
        connection = server.connection()
    assert len(server.asked) < 10

`answer(request)` gives what is to be sent.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from socklb.api.connection import Connection

INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass
class Request:
    """What was asked, and when (monotonic)."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def plural(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def watches(self) -> bool:
        return self.query.get("watch") == "true"

    @property
    def streams(self) -> bool:
        return self.query.get("sendInitialEvents") == "true"


@dataclass
class Reply:
    """A status and a body: whole, or part by part, in chunks as the API server sends them unless told otherwise."""

    body: Any = b""
    status: int = 200
    chunked: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def parts(self) -> Iterator[bytes]:
        if isinstance(self.body, bytes):
            yield self.body
        elif isinstance(self.body, dict):
            yield json.dumps(self.body).encode()
        else:
            yield from self.body


def status(code: int, message: str = "", **more: Any) -> Reply:
    """A Status object, as the server refuses with it."""
    body = {"kind": "Status", "code": code, "message": message, **more.pop("body", {})}
    return Reply(body, code, **more)


def event(type_: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": found}).encode() + b"\n"


def bookmark(version: int = 1, *, initial_end: bool = False) -> bytes:
    metadata = {"resourceVersion": str(version), **({"annotations": INITIAL_END} if initial_end else {})}
    return event("BOOKMARK", {"metadata": metadata})


def stream(*objects: dict[str, Any], version: int = 1) -> Iterator[bytes]:
    """The beginning of a list as a stream."""
    yield from (event("ADDED", one) for one in objects)
    yield bookmark(version, initial_end=True)


def page(*objects: dict[str, Any], version: int = 1, more: str = "") -> Reply:
    return Reply({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(objects)})


def table(*rows: tuple[str, str, str]) -> Reply:
    """Nodes as the server prints them: name, age and first internal address."""
    columns = ("Name", "Status", "Roles", "Age", "Version", "Internal-IP", "External-IP")
    return Reply(
        {
            "kind": "Table",
            "columnDefinitions": [{"name": name} for name in columns],
            "rows": [{"cells": [name, "Ready", "", age, "v1.34.2", ip, "<none>"]} for name, age, ip in rows],
        }
    )


class ApiServer:
    """See the module."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self.connections = 0
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.05])

    def connection(self, folder: Path, *servers: str, token: str = "a token") -> Connection:
        """A connection with a kubeconfig that names this server."""
        return Connection(str(self.kubeconfig(folder, token)), servers)

    def kubeconfig(self, folder: Path, token: str = "a token") -> Path:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {"server": self.url}}],
            "users": [{"name": "agent", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "agent"}}],
            "current-context": "tests",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def asked_for(self, plural: str) -> list[Request]:
        return [request for request in self.asked if request.plural == plural]

    def hold(self) -> Iterator[bytes]:
        """Say nothing more, and keep the connection open."""
        self.stopped.wait()
        yield b""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client hung up."""


class _Handler(BaseHTTPRequestHandler):
    owner: ApiServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.owner.connections += 1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(parts.path, dict(parse_qsl(parts.query)), headers)
        self.owner.asked.append(request)
        reply = self.owner.answer(request)
        try:
            self.send_response(reply.status)
            chunked = reply.chunked and not isinstance(reply.body, bytes)
            framing = {"transfer-encoding": "chunked"} if chunked else {"connection": "close"}
            for name, value in {**framing, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for part in filter(None, reply.parts()):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                self.wfile.flush()
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""
