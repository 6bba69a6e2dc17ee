"""The objects of one decoded document: none, one, or the items of a `kind: List`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from socklb.api.checks import ObjectError
from socklb.api.decode import identify, read_object, type_of
from socklb.api.objects import Object
from socklb.errors import SocklbError

ObjectId = tuple[str, str]  # kind, key

log = logging.getLogger(__name__)


class Finding(NamedTuple):
    """An object, or why there is none; `id` is None where not even that can be read."""

    id: ObjectId | None
    object: Object | None
    error: SocklbError | None = None


def findings(raw: Any) -> Iterator[Finding]:
    """Give what a document says, object by object. Kinds that the agent does not use are passed over."""
    if not isinstance(raw, dict) or cast("dict[str, Any]", raw).get("kind") != "List":
        if raw is not None:
            yield from _object(raw, "")
        return
    items = cast("dict[str, Any]", raw).get("items", [])
    if not isinstance(items, list):
        yield Finding(None, None, ObjectError("items", "not a list"))
        return
    for i, item in enumerate(cast("list[Any]", items)):
        yield from _object(item, f"items[{i}].")


def _object(raw: Any, place: str) -> Iterator[Finding]:
    try:
        found = read_object(raw)
    except ObjectError as error:
        error.field = (place + error.field).rstrip(".")
        yield Finding(identify(raw), None, error)
        return
    if found is None:
        log.debug("%s %s is not used", *type_of(raw))
    else:
        yield Finding((found.kind, found.key), found)
