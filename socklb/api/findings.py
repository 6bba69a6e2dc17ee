"""The objects of one decoded document: none, one, or the items of a list.

In a `List`, which kubectl prints, each item has its kind. In an `EndpointSliceList` and the like, which an API server
returns (`kubectl get --raw`), items may lack it.

A kind that the agent does not use is skipped, unless it looks like a misspelling of one that it uses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from socklb.api.checks import ObjectError
from socklb.api.decode import identify, read_object, type_of
from socklb.api.kinds import ANY_LIST, LISTS, Type, near_miss
from socklb.api.objects import Object
from socklb.errors import SocklbError, one_line

ObjectId = tuple[str, str]  # kind, key

log = logging.getLogger(__name__)


class Finding(NamedTuple):
    """An object, or why there is none; `id` is None if not even that can be read.

    near_miss: the document is readable, but its kind is not one that the agent reads; `id` is that of the kind that was
    probably meant.
    """

    id: ObjectId | None
    object: Object | None
    error: SocklbError | None = None
    near_miss: bool = False


def findings(raw: Any) -> Iterator[Finding]:
    """Yield the objects of a document, one by one."""
    if raw is None:
        return
    document = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    of_items = LISTS.get((str(document.get("apiVersion")), str(document.get("kind"))))
    if of_items is None and document.get("kind") != ANY_LIST[1]:
        yield from _object(raw, "")
        return
    items = document.get("items", [])
    if not isinstance(items, list):
        yield Finding(None, None, ObjectError("items", "not a list"))
        return
    for i, item in enumerate(cast("list[Any]", items)):
        yield from _object(_as(of_items, item), f"items[{i}].")


def _as(type_: Type | None, item: Any) -> Any:
    """Fill in what an item of a typed list leaves out."""
    if type_ is None or not isinstance(item, dict):
        return item
    return {"apiVersion": type_[0], "kind": type_[1], **cast("dict[str, Any]", item)}


def _object(raw: Any, place: str) -> Iterator[Finding]:
    try:
        found = read_object(raw)
    except ObjectError as error:
        error.field = (place + error.field).rstrip(".")
        yield Finding(identify(raw), None, error)
        return
    if found is not None:
        yield Finding((found.kind, found.key), found)
        return
    version, kind = type_of(raw)
    if meant := near_miss(version, kind):
        yield _near_miss(raw, place, (version, kind), meant)
    else:
        log.debug("%s of %s is not used", one_line(kind), one_line(version))


def _near_miss(raw: Any, place: str, found: Type, meant: Type) -> Finding:
    field = "kind" if found[1] != meant[1] else "apiVersion"
    message, valid = f"{found[1]} of {found[0]} is not used", f"{meant[1]} of {meant[0]}"
    error = ObjectError(f"{place}{field}", message, valid=valid)
    return Finding(identify({**raw, "kind": meant[1]}), None, error, near_miss=True)
