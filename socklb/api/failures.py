"""Why a request to the API server failed, or what a status other than 200 means.

raise unreachable(server, error) from error
raise refused(server, path, 403, body, headers)
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import msgspec
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from socklb.errors import SocklbError

CONNECT_SECONDS = 5.0
RETRY_AFTER_MOST = 60.0  # seconds: a proxy that asks for a day, or 1e14, must not silence the agent that long
RBAC, RBAC_BYPASS = "deploys/kubernetes/rbac.yaml", "deploys/kubernetes/rbac-bypass.yaml"
RIGHTS = {"/api/v1/pods": RBAC_BYPASS, "/api/v1/namespaces": RBAC_BYPASS}  # paths whose rights are in another manifest


class ApiError(SocklbError):
    """The API server could not be reached, or did not do what was requested.

    status: its HTTP status, 0 if there was no answer.
    retry_after: the seconds that it wants to be left alone, if given; RETRY_AFTER_MOST at most.
    """

    def __init__(
        self, message: str, *, value: object = None, hint: str = "", status: int = 0, retry_after: float = 0
    ) -> None:
        super().__init__(message, value=value, hint=hint)
        self.status = status
        self.retry_after = retry_after


class ExpiredError(ApiError):
    """The resource version or the continue token is too old: everything must be listed again (410 Gone)."""


class NotServedError(ApiError):
    """The server does not have this resource (404), or not with these parameters (400, 422)."""


class ForbiddenError(ApiError):
    """The agent lacks the right (403)."""


class AheadError(ApiError):
    """The resource version is newer than any that the server has: its etcd was restored, or the server lags behind."""


class StalledError(ApiError):
    """The server was reached and then sent nothing for too long."""


class BriefError(ApiError):
    """A watch ended as soon as it started."""


class UnexpectedError(ApiError):
    """Any other failure while following the server: its cause says what."""


def unreachable(server: str, error: Exception) -> ApiError:
    """Return an error that says in a phrase why a server could not be reached."""
    cause = _root(error)
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


def _root(error: BaseException) -> BaseException:
    """Return the innermost error that urllib3 wrapped: by `from`, as `reason`, or as the first argument."""
    for deeper in (error.__cause__, getattr(error, "reason", None), *error.args[:1]):
        if isinstance(deeper, BaseException):
            return _root(deeper)
    return error


def unexpected(error: Exception) -> ApiError:
    """Return an error that says in a phrase what happened unexpectedly."""
    if isinstance(error, ApiError):
        return error
    text = " ".join(str(error).split())
    found = UnexpectedError(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    found.__cause__ = error
    return found


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    message: str = ""
    code: int = 0
    details: _Details | None = None


# As in reading.py: no thread may be the first to use a type.
STATUSES = msgspec.json.Decoder(_Status)


def refused(server: str, path: str, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ApiError:
    """Return the error for a status other than 200."""
    said, reasons = _said(body)
    if status == 410:
        return ExpiredError(said or "too old a resource version", value=server, status=status)
    if status in {400, 404, 422}:
        return NotServedError(f"{status}: {said or 'not served'}", value=f"{server}{path}", status=status)
    hint = {
        401: "the token or certificate in the kubeconfig; is it expired?",
        403: f"kubectl apply -f {RIGHTS.get(path, RBAC)}",
    }.get(status, "")
    kind = {403: ForbiddenError}.get(status, AheadError if "ResourceVersionTooLarge" in reasons else ApiError)
    text, wait = f"{status}: {said or 'no reason given'}", retry_after(headers or {})
    return kind(text, value=server, hint=hint, status=status, retry_after=wait)


def error_event(server: str, path: str, raw: bytes) -> ApiError:
    """Return the error for an ERROR event within a watch.

    Raises:
        msgspec.MsgspecError: it is not a Status object.
    """
    return refused(server, path, STATUSES.decode(raw).code, raw)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a server wants to be left alone, 0 if it does not say."""
    text = headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_MOST) if text.isascii() and text.isdecimal() else 0.0


def _said(body: bytes) -> tuple[str, set[str]]:
    """Return the message of a Status object and the reasons of its causes, or the first line of any other text."""
    try:
        found = STATUSES.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body.decode(errors="replace").strip().partition("\n")[0][:200], set()
    causes = found.details.causes if found.details else None
    return found.message, {cause.reason for cause in causes or ()}
