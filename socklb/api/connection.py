"""The connection to the API server: one of its addresses, with the credentials of a kubeconfig or of a pod.

    connection = Connection(kubeconfig="/etc/socklb/kubeconfig", servers=["https://172.18.0.2:6443"])
    answer = connection.get("/api/v1/services", {"limit": "500"}, silence=30)
    with closing(answer.response): …

Each agent starts with a random server, and moves to a random other one when that fails, so a thousand agents neither
start nor end at the same one. The servers are addresses of control plane nodes, never of a Service: the agent is what
serves Services.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from socklb import __version__
from socklb.api import credentials
from socklb.api.failures import CONNECT_SECONDS, ApiError, refused, unexpected, unreachable
from socklb.errors import SocklbError

JSON = "application/json"
MOVE_CHANCE = 1 / 16  # at the end of a watch; about 30 of an agent's watches end per hour, so it moves twice an hour


class Answer(NamedTuple):
    """A server's answer, not read yet."""

    response: urllib3.BaseHTTPResponse
    server: str


class Connection:
    """See the module. Several threads may use it at once."""

    def __init__(self, kubeconfig: str = "", servers: Sequence[str] = ()) -> None:
        """Read the credentials.

        Raises:
            SocklbError: there are none, or they cannot be read.
        """
        self._kubeconfig = kubeconfig
        self._given = tuple(servers)
        self._lock = threading.Lock()
        self._use(credentials.load(kubeconfig))

    @property
    def server(self) -> str:
        """Return the server for the next request."""
        return self._server

    def get(self, path: str, query: Mapping[str, str], silence: float, accept: str = JSON) -> Answer:
        """Send a request and return the unread answer; reading it fails after `silence` seconds without data.

        Raises:
            ApiError: no connection, no usable credentials, or a status other than 200. If the server could not be
                reached, the next request goes to another one.
        """
        server = self._server
        response = self._request(server, f"{server}{path}?{urlencode(query)}", silence, accept)
        if response.status == 200:
            return Answer(response, server)
        try:
            with closing(response):
                body = response.read(decode_content=True)
        except (HTTPError, OSError) as error:
            self.failed(server)
            raise unreachable(server, error) from error
        raise self._refused(server, path, response, body)

    def failed(self, server: str) -> None:
        """Use a random other server next, unless another thread's failure has already led to one."""
        with self._lock:
            others = [one for one in self._servers if one != server]
            if server == self._server and others:
                self._server = random.choice(others)

    def ended(self) -> None:
        """Note the end of a watch: now and then, move to a random server.

        So a server that was down gets its share of agents back. A single address may stand for many servers: then new
        connections, which its load balancer spreads, replace those that are kept.
        """
        if random.random() < MOVE_CHANCE:
            with self._lock:
                self._server = random.choice(self._servers)
                self._client.rest_client.pool_manager.clear()

    def _request(self, server: str, url: str, silence: float, accept: str) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=silence)
        headers = self._headers(accept)
        try:
            return self._client.rest_client.pool_manager.request(
                "GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
            )
        except (HTTPError, OSError) as error:
            self.failed(server)
            found = unreachable(server, error)
            raise self._reloaded(found) if isinstance(error, SSLError) else found from error

    def _refused(self, server: str, path: str, response: urllib3.BaseHTTPResponse, body: bytes) -> ApiError:
        found = refused(server, path, response.status, body, response.headers)
        if response.status >= 500:
            self.failed(server)
        # 403 too: while a token file is empty for a moment, the server treats requests as anonymous.
        return self._reloaded(found) if response.status in {401, 403} else found

    def _reloaded(self, found: ApiError) -> ApiError:
        """Read the credentials again: the server does not accept them any more, or they do not match the server."""
        try:
            self._use(credentials.load(self._kubeconfig))
        except SocklbError as error:
            found.message += f"; {error.message}"
        return found

    def _use(self, client: Any) -> None:
        with self._lock:
            self._client = client
            self._servers = self._given or (str(client.configuration.host).rstrip("/"),)
            if getattr(self, "_server", None) not in self._servers:
                self._server = random.choice(self._servers)

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"accept": accept, "accept-encoding": "gzip", "user-agent": f"socklb/{__version__}"}
        for setting in cast("dict[str, Any]", self._settings()).values():
            if setting["value"] is not None and setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        return headers

    def _settings(self) -> Any:
        """Return the credentials to send; a token that is about to expire is read or made again first."""
        try:
            return self._client.configuration.auth_settings()
        except Exception as error:  # an empty token file, a failing plugin: whatever the client raises
            raise ApiError(f"no usable credentials: {unexpected(error).message}", value=self._kubeconfig) from error
