"""Remove secrets from everything in a report: those that this node is known to have, and what looks like one.

    redactor = Redactor(known(config_path, [agent_pid]))
    text = redactor.clean(text)

Known secrets are the credentials of the kubeconfig and of the pod's ServiceAccount, environment variables that are
named like secrets, and configuration keys that should not be there. A secret without such a name or form is not found:
a report must be reviewed before it is sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

import msgspec
import yaml
from msgspec import Struct

from socklb import config, config_file
from socklb.errors import SocklbError

REMOVED = "[removed]"
SHORTEST = 6  # of secrets searched literally: shorter words occur everywhere
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
NAME = r"[\w.-]*(?:token|secret|passw|credential|api[_-]?key|private[_-]?key|key[_-]data|certificate[_-]data)[\w.-]*"
NAMED = re.compile(NAME, re.IGNORECASE)
SECRET_KEYS = ("token", "password", "client-key-data", "client-certificate-data")
SECRET_FILES = ("tokenFile", "client-key", "client-certificate")
PLAIN = ("name", "apiVersion", "command", "installHint", "interactiveMode")  # how to log in
LOOKS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REMOVED),
    (re.compile(r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"), REMOVED),  # a JSON web token
    (re.compile(r"\b(bearer|basic)[ \t]+[^\s\"',;]+", re.IGNORECASE), rf"\1 {REMOVED}"),
    (re.compile(rf"\b({NAME}[\"']?[ \t]*[=:][ \t]*[\"']?)[^\s\"',;]+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"(\b\w+://)[^/\s@]+@"), rf"\1{REMOVED}@"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), REMOVED),  # a bootstrap token
)


class User(Struct):
    """An entry of a kubeconfig's users."""

    user: dict[str, Any] = {}  # msgspec copies an empty default


class Kubeconfig(Struct):
    """The parts of a kubeconfig that matter here."""

    users: list[User] = []


class Redactor:
    """See the module."""

    def __init__(self, secrets: Iterable[str]) -> None:
        texts = {one for secret in secrets for one in (secret, json.dumps(secret)[1:-1]) if len(one) >= SHORTEST}
        longest_first = sorted(texts, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if texts else None

    def clean(self, text: str) -> str:
        """Return a text without secrets."""
        if self._known:
            text = self._known.sub(REMOVED, text)
        for pattern, instead in LOOKS:
            text = pattern.sub(instead, text)
        return text


def known(path: Path, pids: Iterable[int]) -> Iterator[str]:
    """Yield the secrets that can be found: through the configuration, and in the environment of this and other
    processes.
    """
    said: dict[str, Any] = {}
    with suppress(SocklbError):
        said = config_file.read(path)
    yield from _texts({key: value for key, value in said.items() if key not in config.KEYS})
    yield from _of_kubeconfig(Path(str(said.get("kubeconfig") or "/nowhere")))
    yield _read(SERVICE_ACCOUNT)
    for pid in (os.getpid(), *pids):
        yield from _of_environment(_read(Path("/proc", str(pid), "environ")))


def _of_kubeconfig(path: Path) -> Iterator[str]:
    """Yield the secrets of its users, and the contents of the files that they name."""
    try:
        document = msgspec.convert(yaml.safe_load(_read(path)), Kubeconfig)
    except (yaml.YAMLError, msgspec.ValidationError):
        return
    for user in (entry.user for entry in document.users):
        yield from (str(user[key]).strip() for key in SECRET_KEYS if key in user)
        for key in SECRET_FILES:
            yield from _read(path.parent / str(user.get(key, "nowhere"))).split("\n")
        for inner in (user.get("auth-provider"), user.get("exec")):
            yield from _texts(inner)


def _of_environment(text: str) -> Iterator[str]:
    for line in text.split("\0"):
        name, _, value = line.partition("=")
        if NAMED.fullmatch(name):
            yield value


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a document, except names."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        yield from chain.from_iterable(_texts(inner) for key, inner in fields.items() if key not in PLAIN)
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_texts, cast("list[Any]", value)))


def _read(path: Path) -> str:
    """Read a file that may not exist."""
    try:
        return path.read_text(errors="replace").strip() if path.is_file() else ""
    except (OSError, ValueError):
        return ""
