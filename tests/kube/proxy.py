"""What may stand before an API server: a proxy that passes requests on, and answers some itself."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import urllib3

from tests.kube.control_plane import ControlPlane


class Proxy:
    """Passes on what a client asks for, with its credentials; while `refuses` is set, that is the answer."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.refuses: tuple[int, dict[str, str]] | None = None
        self.asked: list[str] = []
        self.pool = urllib3.PoolManager(ca_certs=str(plane.ca), maxsize=16)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._http.daemon_threads = True
        self.server = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.05])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.proxy.asked.append(self.path)
        if self.proxy.refuses:
            status, headers = self.proxy.refuses
            self._begin(status, {**headers, "content-length": "0"})
            return
        url = f"{self.proxy.plane.server}{self.path}"
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = self.proxy.pool.request("GET", url, headers=headers, preload_content=False, retries=False)
        with suppress(OSError):
            kind, encoding = answer.headers["content-type"], answer.headers.get("content-encoding", "identity")
            self._begin(
                answer.status, {"content-type": kind, "content-encoding": encoding, "transfer-encoding": "chunked"}
            )
            for chunk in answer.stream(1 << 16, decode_content=False):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        answer.close()

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""
