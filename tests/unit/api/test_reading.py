"""One object as the API server sent it: whatever that is, it is an object or an error, and the error says whose."""

import json

import pytest

from socklb.api.reading import read
from socklb.api.resources import RESOURCES
from socklb.errors import SocklbError
from tests.unit.agent.shapes import service

SERVICES = RESOURCES[0]
UID = b'{"metadata": {"name": "web", "namespace": "shop"}, "spec": '


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"null", "no Kubernetes object; valid: a mapping"),
        (b"[]", "no Kubernetes object; valid: a mapping"),
        (b"7", "no Kubernetes object (7); valid: a mapping"),
        (b'{"metadata": {"name": "\xff"}}', "byte 0xff is not UTF-8"),
        (b"[" * 5000, "nested too deep"),
        (b"{", "Input data was truncated"),
    ],
    ids=["null", "a list", "a number", "not UTF-8", "too deep", "cut off"],
)
def test_what_is_no_object_is_an_error_of_nobody(raw: bytes, told: str) -> None:
    found = read(SERVICES, raw)
    assert isinstance(found.object, SocklbError)
    assert (found.id, str(found.object)) == (None, told)


@pytest.mark.parametrize("spec", [b"9" * 5000, b'{"ports": 1' + b"0" * 5000 + b"}"], ids=["spec", "ports"])
def test_an_object_with_a_number_that_nobody_can_read_is_named(spec: bytes) -> None:
    found = read(SERVICES, UID + spec + b"}")
    assert isinstance(found.object, SocklbError)
    assert found.id == ("Service", "shop/web")
    assert str(found.object).startswith("Integer value out of range")


def test_an_object_whose_name_cannot_be_one_is_named_all_the_same() -> None:
    found = read(SERVICES, json.dumps(service("Web\n")).encode())
    assert isinstance(found.object, SocklbError)
    assert found.id == ("Service", "default/Web\n")
