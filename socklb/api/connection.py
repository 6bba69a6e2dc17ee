"""The way to the API server: its addresses one after the other, with the credentials of a kubeconfig or of a pod.

    connection = Connection(kubeconfig="/etc/socklb/kubeconfig", servers=["https://172.18.0.2:6443"])
    with closing(connection.get("/api/v1/services", {"limit": "500"}, silence=30)) as response: …

Credentials, TLS and the refresh of tokens are the official client's; its models are not used, for they are slow and
large. The servers are addresses of control plane nodes, never a Service's: the agent is what serves those.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import urllib3
from kubernetes import client, config
from kubernetes.config import ConfigException
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from socklb import __version__
from socklb.errors import SocklbError

CONNECT_SECONDS = 5.0
RBAC = "deploys/kubernetes/rbac.yaml"

log = logging.getLogger(__name__)


class ApiError(SocklbError):
    """The API server could not be asked, or did not do what it was asked for.

    retry_after: the seconds that it wants to be left alone, if it said so.
    """

    def __init__(self, message: str, *, value: object = None, hint: str = "", retry_after: float = 0) -> None:
        super().__init__(message, value=value, hint=hint)
        self.retry_after = retry_after


class ExpiredError(ApiError):
    """The resource version asked for is too old: what is there must be listed anew (410 Gone)."""


class NotServedError(ApiError):
    """The server does not have this resource (404), or not with these parameters (400, 422)."""


class StalledError(ApiError):
    """The server was reached and then said nothing for too long."""


class Connection:
    """Several threads may ask at once."""

    def __init__(self, kubeconfig: str = "", servers: Sequence[str] = ()) -> None:
        """Read the credentials.

        Raises:
            SocklbError: there are none, or they cannot be read.
        """
        self._kubeconfig = kubeconfig
        self._given = tuple(servers)
        self._lock = threading.Lock()
        self._turn = 0
        self._client = self._load()

    @property
    def server(self) -> str:
        """The server that is asked next."""
        return self._servers[self._turn % len(self._servers)]

    def get(self, path: str, query: Mapping[str, str], silence: float) -> urllib3.BaseHTTPResponse:
        """Ask, and give the response unread; without a word for `silence` seconds, reading it fails.

        Raises:
            ApiError: no connection, or no status 200. Another server is next after one that could not be reached.
        """
        server, turn = self.server, self._turn
        url = f"{server}{path}?{urlencode(query)}"
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=silence)
        try:
            pool = self._client.rest_client.pool_manager
            found = pool.request(
                "GET",
                url,
                headers=self._headers(),
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if found.status == 200:
                return found
            with closing(found):
                body = found.read(decode_content=True)
        except (HTTPError, OSError) as error:
            self.failed(turn)
            if isinstance(error, SSLError):
                self._reload()
            raise unreachable(server, error) from error
        self._refused(found.status, turn)
        raise refused(server, path, found.status, body, found.headers)

    def failed(self, turn: int | None = None) -> None:
        """Ask another server next, unless somebody else's failure led to another already."""
        with self._lock:
            if turn is None or turn == self._turn:
                self._turn += 1

    def _refused(self, status: int, turn: int) -> None:
        if status == 401:
            self._reload()
        elif status >= 500:
            self.failed(turn)

    def _reload(self) -> None:
        """Read the credentials again: the server does not accept them any more, or they do not accept the server."""
        try:
            self._client = self._load()
        except SocklbError as error:
            log.warning("%s", error)

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json", "user-agent": f"socklb/{__version__}"}
        for setting in cast("dict[str, Any]", self._client.configuration.auth_settings()).values():
            if setting["value"] is not None and setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        return headers

    def _load(self) -> Any:
        found: Any = client.Configuration()
        try:
            if self._kubeconfig:
                config.load_kube_config(self._kubeconfig, client_configuration=found)  # type: ignore[reportUnknownMemberType]
            else:
                config.load_incluster_config(client_configuration=found)  # type: ignore[reportUnknownMemberType]
        except (ConfigException, OSError, ValueError, TypeError, AttributeError) as error:
            raise self._unusable(error) from error
        found.keep_alive = True
        found.connection_pool_maxsize = 8
        self._servers = self._given or (str(found.host).rstrip("/"),)
        try:
            return client.ApiClient(found)
        except (OSError, ssl.SSLError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> SocklbError:
        reason = " ".join(str(error).split())
        if self._kubeconfig:
            hint = f"a kubeconfig with a current context; try: kubectl --kubeconfig {self._kubeconfig} get services"
            return SocklbError(f"cannot use the kubeconfig: {reason}", value=self._kubeconfig, hint=hint)
        return SocklbError(
            f"no source of Services: {reason}",
            hint="set manifests (a folder) or kubeconfig in the configuration, or run in a pod with a ServiceAccount",
        )


def unreachable(server: str, error: Exception) -> ApiError:
    """Say in a phrase why a server could not be asked."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or getattr(cause, "reason", None)) and isinstance(deeper, BaseException):
        cause = deeper
    match error, cause:
        case _, ssl.SSLEOFError():
            reason = "the connection broke"
        case (SSLError(), _) | (_, ssl.SSLError()):
            reason = f"TLS: {getattr(cause, 'verify_message', '') or cause}"
            return ApiError(
                reason, value=server, hint="the certificate authority and the server's names in the kubeconfig"
            )
        case NameResolutionError(), _:
            reason = "its name is not known"
        case ReadTimeoutError(), _:
            return StalledError("it stopped answering", value=server)
        case ProtocolError() | NewConnectionError(), OSError(strerror=str(text)):
            reason = text.lower()
        case ConnectTimeoutError(), _:
            reason = f"no answer in {CONNECT_SECONDS:.0f} s"
        case ProtocolError(), _:
            reason = "the connection broke"
        case _:
            reason = " ".join(str(cause).split())
    return ApiError(reason, value=server)


class _Status(msgspec.Struct):
    message: str = ""
    code: int = 0


def refused(server: str, path: str, status: int, body: bytes, headers: Mapping[str, str] = {}) -> ApiError:
    """Say what a status other than 200 means."""
    said = message_of(body)
    if status == 410:
        return ExpiredError(said or "too old a resource version", value=server)
    if status in {400, 404, 422}:
        return NotServedError(f"{status}: {said or 'not served'}", value=f"{server}{path}")
    hint = {
        401: "the token or certificate in the kubeconfig; is it expired?",
        403: f"kubectl apply -f {RBAC}",
    }.get(status, "")
    return ApiError(f"{status}: {said or 'no reason given'}", value=server, hint=hint, retry_after=_seconds(headers))


def message_of(body: bytes) -> str:
    """Give the message of a Status object, or the first line of any other text."""
    try:
        return msgspec.json.decode(body, type=_Status).message
    except msgspec.MsgspecError:
        return body.decode(errors="replace").strip().partition("\n")[0][:200]


def _seconds(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
