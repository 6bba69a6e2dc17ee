"""The page over HTTP while steps run: on 127.0.0.1 only, from the evidence as it is at each request.

    with serving(report, port=0) as address: ...

Paths: `/` the page, `/state` a value that changes when anything is recorded, `/captures/NAME` a pcapng file. Nothing
else is read and nothing is written. A request under any other host name than this machine's own is refused, so that no
page of another site can read it through a browser.
"""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import copy_context
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from labs.engine.errors import CannotRunError, LabError
from labs.engine.report.page import Report

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, report: Report, port: int) -> None:
        self.report = report
        self._context = copy_context()  # with the chosen language, which a thread does not inherit
        super().__init__((HOST, port), Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._context.copy().run(super().process_request_thread, request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - the one that makes it

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1")
            return
        try:
            found = self._found()
        except (OSError, LabError) as error:  # during a reset of the evidence, or after somebody changed it
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the evidence cannot be read", str(error))
            return
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, body = found
        self.send_response(HTTPStatus.OK)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _found(self) -> tuple[str, bytes] | None:
        report = self.server.report
        if self.path == "/":
            return "text/html; charset=utf-8", report.html(nonce=secrets.token_urlsafe(16)).encode()
        if self.path == "/state":
            return "text/plain; charset=utf-8", report.state().encode()
        folder, _, name = self.path.rpartition("/")
        capture = dict(report.captures()).get(name) if folder == "/captures" else None
        return ("application/octet-stream", capture) if capture else None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log nothing: a page asks every second."""


@contextmanager
def serving(report: Report, port: int) -> Generator[str]:
    """Serve within the block, and yield the address. Port 0: any free one.

    Raises:
        CannotRunError: another program uses the port.
    """
    try:
        server = Server(report, port)
    except OSError as error:
        raise CannotRunError(f"port {port} of {HOST}: {error.strerror}. Next: lab report --live --port 0") from None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
