"""What may stand before an API server: a proxy that passes requests on, and answers some itself."""

from __future__ import annotations

from collections.abc import Iterator

import urllib3

from rig.control_plane import ControlPlane
from tests.unit.agent.api_server import ApiServer, Reply, Request


class Proxy(ApiServer):
    """Passes on what a client asks for, with its credentials; while `refuses` is set, that is the answer."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(self._pass_on)
        self.refuses: Reply | None = None
        self._plane = plane
        self._pool = urllib3.PoolManager(ca_certs=str(plane.ca), maxsize=16)

    def _pass_on(self, request: Request) -> Reply:
        if self.refuses:
            return self.refuses
        url = f"{self._plane.server}{request.path}"
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        answer = self._pool.request(
            "GET", url, fields=request.query, headers=headers, preload_content=False, retries=False
        )
        kept = {name: answer.headers[name] for name in ("content-type", "content-encoding") if name in answer.headers}
        return Reply(_body(answer), answer.status, headers=kept)


def _body(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(1 << 16, decode_content=False)
    finally:
        answer.close()
