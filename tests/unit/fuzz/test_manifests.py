"""Files in the folder of manifests, of any bytes: reading never raises, keeps what was good, and says what is wrong in
a sentence."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from socklb.agent.problems import ProblemBook
from socklb.api.manifest_file import FileContent, read_file
from socklb.api.manifests import ManifestFolder
from socklb.api.source import Batch, Problem
from socklb.report import Report
from socklb.status import summary
from tests.unit.agent.changing import Cluster
from tests.unit.agent.shapes import endpoint, endpoint_slice, service
from tests.unit.fuzz.drawn import ANY, FUZZ, as_json, bent, spliced
from tests.unit.fuzz.messages import judge
from tests.unit.fuzz.objects import OF_MANIFESTS, lists

GOOD = [service("good", clusterIPs=["10.96.9.9"]), endpoint_slice("good", endpoints=[endpoint("10.9.9.9")])]
SERVED = {"10.96.9.9:80/TCP": ["10.9.9.9:8080"]}
TOKENS = (
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xe9",
        b"\x85",
        b"\xe2\x80\xa8",
        b"\t",
        b"\r",
        b"\r\n",
        b"\n",
        b"\x1b[2J",
    ),
    *(
        b"---\n",
        b"--- ",
        b"...\n",
        b"%YAML 9.9\n---\n",
        b"%TAG ! x:\n",
        b"# ",
        b": ",
        b"- ",
        b"? ",
        b"| ",
        b">-\n",
        b"!",
        b"@",
    ),
    *(b"&a ", b"*a ", b"*b\n", b"<<: *a\n", b"<<: [*a, *a]\n", b"<<: x\n", b"&a [*a, *a]", b"&a {k: *a}"),
    *(b"!!python/object/apply:os.system [x]\n", b"!!binary x\n", b"!!int ", b"!!set {a, b}\n", b"!<tag:x> "),
    *(b"2026-11-29", b"12:30:45", b"0777", b"0o9", b"1e999", b".inf", b"-.nan", b"9" * 5000, b"0x" + b"f" * 70, b"1_0"),
    *(b"{", b"}", b"[", b"]", b"'", b'"', b"\\", b'"\\ud800"', b'"\\x41', b",", b"[" * 200, b"{a: " * 200, b"- " * 300),
    *(b"apiVersion: v1\n", b"kind: Service\n", b"kind: Endpoints\n", b"kind: service\n", b"kind: {}\n", b"items: 7\n"),
    *(b"kind: List\n", b"kind: ServiceList\n", b"metadata: {name: good}\n", b"null", b"~", b"yes", b"{{ .Values.x }}"),
)
OBJECTS = st.sampled_from(OF_MANIFESTS)
LISTS = lists(st.lists(OBJECTS | bent(OBJECTS), max_size=2) | ANY)
DOCUMENTS = st.lists(OBJECTS | bent(OBJECTS) | bent(LISTS) | ANY, min_size=1, max_size=2)


def as_yaml(documents: list[Any]) -> bytes:
    """As a person has it: in blocks, where YAML can say it at all."""
    try:
        return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True).encode()
    except ValueError:  # an integer that Python does not write
        return b"\n---\n".join(map(as_json, documents))


YAML = st.builds(as_yaml, DOCUMENTS)
JSON = st.builds(lambda documents: b"\n".join(map(as_json, documents)), DOCUMENTS)
GOOD_YAML = st.sampled_from([as_yaml([one, OF_MANIFESTS[0]]) for one in OF_MANIFESTS])
GOOD_JSON = st.sampled_from([as_json({"kind": "List", "apiVersion": "v1", "items": OF_MANIFESTS[n:]}) for n in (0, 5)])
FILES = st.one_of(
    st.tuples(st.just("x.yaml"), YAML | JSON | spliced(GOOD_YAML, TOKENS)),
    st.tuples(st.just("x.yaml"), spliced(GOOD_YAML, TOKENS)),
    st.tuples(st.just("x.json"), JSON | YAML | spliced(GOOD_JSON, TOKENS)),
    st.tuples(st.sampled_from(("x.yaml", "x.json", "a\n\x1b[1m.yml")), st.binary(max_size=40)),
)


def told(problems: tuple[Problem, ...]) -> list[str]:
    """The problems as `socklb status` prints them."""
    text = summary.text(Report(problems=ProblemBook().note([], problems)))
    return text.split("Problems:")[1].split("\n")[1:]


@FUZZ
@given(FILES)
def test_no_file_of_manifests_raises_or_loses_what_was_good(drawn: tuple[str, bytes]) -> None:
    name, data = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(b"\n".join(map(as_json, GOOD)) if name.endswith(".json") else as_yaml(GOOD))
        before = read_file(path, None)
        assert before is not None
        assert len(before.objects) == len(GOOD)
        path.write_bytes(data)
        content = read_file(path, before)
        assert content is not None
    for line in told(content.problems):
        judge(line)
    if any(not problem.object for problem in content.problems):
        assert before.objects.keys() <= content.objects.keys(), "nobody can say that it was removed"
    only_from_start(name, data, content)


def only_from_start(name: str, data: bytes, content: FileContent) -> None:
    """The first reading of an agent that starts says the same of the file, without what was known."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        found = read_file(path, None)
    assert found is not None
    assert found.problems == content.problems
    assert found.objects.items() <= content.objects.items()


@FUZZ
@given(st.lists(FILES, min_size=1, max_size=3))
def test_no_file_of_manifests_changes_how_another_service_is_served(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "0.yaml").write_bytes(as_yaml(GOOD))
        for number, (name, data) in enumerate(files):
            (Path(folder) / f"{number}{name}").write_bytes(data)
        source = ManifestFolder(Path(folder))
        batch = asyncio.run(first_batch(source))
    cluster = Cluster()
    cluster.change(batch.changes)
    assert {frontend: cluster.frontends.get(frontend) for frontend in SERVED} == SERVED
    for line in told((*source.problems, *cluster.plan.problems)):
        judge(line)


async def first_batch(source: ManifestFolder) -> Batch:
    async with aclosing(source.batches()) as batches:
        return await anext(batches)
