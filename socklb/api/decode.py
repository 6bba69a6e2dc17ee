"""From a decoded YAML or JSON document to a checked object.

    read_object({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": …})

What would mislead the agent is refused, with the path of the field (`checks.py`). This is not a full validation: the
API server does that, and a folder of manifests has none. For example, loopback addresses are allowed here and not
there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from socklb.api.checks import ObjectError, check
from socklb.api.kinds import KINDS, WITHOUT_NAMESPACE, Type
from socklb.api.objects import Object

# Valid values, by the last name in a field's path.
VALID = {
    "apiVersion": "a version, as in v1",
    "kind": "a kind, as in Service",
    "name": "lower case letters, digits, '-' and '.'",
    "namespace": "lower case letters, digits, '-' and '.'",
    "port": "1 to 65535",
    "nodePort": "1 to 65535",
    "protocol": "TCP, UDP, SCTP",
    "type": "ClusterIP, NodePort, LoadBalancer, ExternalName",
    "ipFamilies": "IPv4, IPv6",
    "internalTrafficPolicy": "Cluster, Local",
    "externalTrafficPolicy": "Cluster, Local",
    "addressType": "IPv4, IPv6, FQDN",
    "addresses": "1 to 100 addresses",
    "healthCheckNodePort": "1 to 65535",
    "sessionAffinity": "None, ClientIP",
    "timeoutSeconds": "1 to 86400",
    "ipMode": "VIP, Proxy",
}


def read_object(raw: Any, kinds: Mapping[Type, type[Object]] = KINDS) -> Object | None:
    """Return the object in a decoded document, or None if the agent does not use its kind.

    Raises:
        ObjectError: a field is missing or not usable.
    """
    version, kind = type_of(raw)
    model = kinds.get((version, kind))
    if model is None:
        return None
    try:
        found = msgspec.convert(raw, model)
    except msgspec.ValidationError as error:
        raise _as_object_error(raw, str(error)) from None
    check(found)
    return found


def type_of(raw: Any) -> tuple[str, str]:
    """Return apiVersion and kind of a decoded document.

    Raises:
        ObjectError: it has none.
    """
    if not isinstance(raw, dict):
        raise ObjectError("", "no Kubernetes object", value=_if_scalar(raw), valid="a mapping")
    document = cast("dict[str, object]", raw)
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise ObjectError(field, "missing or no string", value=_if_scalar(document.get(field)), valid=VALID[field])
    return str(document["apiVersion"]), str(document["kind"])


def identify(raw: Any) -> tuple[str, str] | None:
    """Return kind and key of an object that `read_object` refused, if they can be read."""
    try:
        kind = raw["kind"]
        name, namespace = raw["metadata"]["name"], raw["metadata"].get("namespace", "default")
    except (TypeError, KeyError, AttributeError):
        return None
    if not all(isinstance(text, str) for text in (kind, name, namespace)):
        return None
    return kind, name if kind in WITHOUT_NAMESPACE else f"{namespace}/{name}"


def _as_object_error(raw: Any, reason: str) -> ObjectError:
    """Split a message of msgspec: "Expected `int`, got `str` - at `$.spec.ports[0].port`"."""
    what, _, path = reason.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", what):
        return ObjectError(f"{field}.{missing[1]}".lstrip("."), "missing")
    value = _if_scalar(_value_at(raw, field))
    leaf = re.sub(r"\[.*", "", field.rpartition(".")[2])
    valid = VALID.get(leaf, "") if "`object`" not in what else ""
    if "enum" in what or "regex" in what:  # `valid` says it better
        what = "not allowed"
    return ObjectError(field, what[:1].lower() + what[1:], value=value, valid=valid)


def _if_scalar(value: Any) -> object:
    return None if isinstance(value, dict | list) else value


def _value_at(raw: Any, field: str) -> Any:
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
        try:
            raw = raw[int(index)] if index else raw[name]
        except (TypeError, KeyError, IndexError):
            return None
    return raw
