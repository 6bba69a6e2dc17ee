"""One object as the API server sent it: decoded and checked, or why it is left out.

found = read(resource, b'{"metadata": …}')
found.id, found.object
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from socklb.api.checks import ObjectError, check
from socklb.api.decode import identify, read_object
from socklb.api.documents import load_json
from socklb.api.failures import unexpected
from socklb.api.findings import ObjectId
from socklb.api.kinds import API_KINDS
from socklb.api.objects import Object
from socklb.api.resources import Resource
from socklb.errors import SocklbError


class _Name(msgspec.Struct):
    name: str
    namespace: str | None = None


class _Named(msgspec.Struct):
    metadata: _Name


# Made here, before threads start: msgspec 0.22 builds its data for a type on first use, and crashes the process with
# SIGSEGV if another thread's garbage collection meets that data half-built.
DECODERS = {kind: ((version, kind), msgspec.json.Decoder(model)) for (version, kind), model in API_KINDS.items()}
NAMES = msgspec.json.Decoder(_Named)


class Read(NamedTuple):
    """An object that the server sent, or why there is none; `id` is None if not even that can be read."""

    id: ObjectId | None
    object: Object | SocklbError


def read(resource: Resource, raw: bytes) -> Read:
    """Decode an object; if msgspec refuses it, decode it again the slow way, which allows null and names the field."""
    type_, decoder = DECODERS[resource.kind]
    try:
        found: Object = decoder.decode(raw)
        check(found)
    except (msgspec.MsgspecError, UnicodeDecodeError, ObjectError):
        return _read_slowly(type_, raw)
    except Exception as error:  # noqa: BLE001  (one object that nobody foresaw keeps no other from being served)
        return Read(_identity(type_, raw), unexpected(error))
    return Read((found.kind, found.key), found)


def _read_slowly(type_: tuple[str, str], raw: bytes) -> Read:
    try:
        found = read_object(_document(type_, raw), API_KINDS)
    except SocklbError as error:
        return Read(_identity(type_, raw), error)
    except Exception as error:  # noqa: BLE001  (as above)
        return Read(_identity(type_, raw), unexpected(error))
    if found is None:
        raise TypeError(type_)
    return Read((found.kind, found.key), found)


def _identity(type_: tuple[str, str], raw: bytes) -> ObjectId | None:
    """Return whose object it is, if only that can be read."""
    try:
        named = NAMES.decode(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    metadata = {"name": named.name, "namespace": named.namespace or "default"}
    return identify({"kind": type_[1], "metadata": metadata})


def _document(type_: tuple[str, str], raw: bytes) -> Any:
    """Return what was sent, with its type, which items of a list leave out."""
    found = load_json(raw)
    if not isinstance(found, dict):
        return found
    return {**cast("dict[str, Any]", found), "apiVersion": type_[0], "kind": type_[1]}
