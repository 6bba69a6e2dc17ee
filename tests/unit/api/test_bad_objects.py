"""Whatever a document says: it is refused as a field of an object, and other Services go on being served."""

import asyncio
import json
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from socklb.api.checks import ObjectError
from socklb.api.decode import identify, read_object
from socklb.api.manifests import ManifestFolder
from socklb.api.source import Change, Problem
from tests.unit.agent.any_objects import ANYTHING, MANY
from tests.unit.agent.changing import Cluster
from tests.unit.agent.shapes import endpoint, endpoint_slice, service

GOOD = [
    service("aaa", clusterIPs=["10.96.9.9"]),
    endpoint_slice("aaa", endpoints=[endpoint("10.9.9.9")]),
]
SERVED = {"10.96.9.9:80/TCP": ["10.9.9.9:8080"]}


@MANY
@given(ANYTHING)
def test_no_document_raises_anything_but_an_error_that_names_the_field(raw: Any) -> None:
    try:
        read_object(raw)
    except ObjectError as error:
        Problem("x.yaml", 1, error.field, str(error), "/".join(identify(raw) or ()))


@settings(MANY, max_examples=100)
@given(st.lists(ANYTHING, min_size=1, max_size=3))
def test_no_document_changes_how_another_service_is_served(raws: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, raw in (("good", {"kind": "List", "items": GOOD}), *((f"x{n}", raw) for n, raw in enumerate(raws))):
            (Path(folder) / f"{name}.json").write_text(json.dumps(raw))
        cluster = Cluster()
        cluster.change(asyncio.run(first_batch(Path(folder))))
    assert {frontend: cluster.frontends.get(frontend) for frontend in SERVED} == SERVED


async def first_batch(folder: Path) -> tuple[Change, ...]:
    async with aclosing(ManifestFolder(folder).batches()) as batches:
        return (await anext(batches)).changes
