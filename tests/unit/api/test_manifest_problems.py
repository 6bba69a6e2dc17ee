"""Bad input: it is reported with file, document and field and left out, what it said before keeps serving, the rest
goes on."""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from socklb.api import manifest_file
from socklb.api.manifest_file import MAX_BYTES, Signature, read_file, signature
from tests.unit.agent.following import following, story, summary
from tests.unit.agent.shapes import endpoint_slice, manifest, service

GOOD = manifest(service("web"), endpoint_slice("web"))
OTHER = manifest(service("other"))


def text(content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda file: file.write_bytes(data)


def as_directory(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def as_link_to(target: str) -> Callable[[Path], None]:
    def replace(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(target)

    return replace


def as_large_file(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(50 * 1024 * 1024)


LATIN_1 = GOOD.encode() + b"# caf\xe9\n"
SLICE = manifest(endpoint_slice("web"))
LINES, SLICE_LINES = GOOD.count("\n"), SLICE.count("\n")
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (text(""), "web.yaml: empty; valid: a comment, if it shall say nothing"),
    "broken YAML": (
        text(f"{SLICE}---\nkind: Service\nspec: {{\n"),
        f"web.yaml document 2: line {SLICE_LINES + 4}: did not find expected node content",
    ),
    "not UTF-8": (text(LATIN_1), f"web.yaml: line {LINES + 1}: byte 0xe9 is not UTF-8"),
    "a 50 MB file": (as_large_file, f"web.yaml: too large: 52428800 bytes; valid: up to {MAX_BYTES} bytes"),
    "a directory": (as_directory, "web.yaml: no regular file; valid: a file"),
    "a link to nothing": (as_link_to("nowhere"), "web.yaml: its target does not exist"),
    "a link to itself": (as_link_to("web.yaml"), "web.yaml: cannot be read: Too many levels of symbolic links"),
    "a document that is no object": (
        text(f"{SLICE}---\n- 1\n"),
        "web.yaml document 2: no Kubernetes object; valid: a mapping",
    ),
    "an object without a name": (
        text(f"{SLICE}---\napiVersion: v1\nkind: Service\nspec: {{}}\n"),
        "web.yaml document 2: metadata: missing",
    ),
    "wrong types": (
        text(manifest(service(ports="http"), endpoint_slice())),
        "web.yaml document 1: Service/default/web: spec.ports: expected `array`, got `str` ('http')",
    ),
    "an address that is none": (
        text(manifest(service(), endpoint_slice(endpoints=[{"addresses": ["10.244.1"]}]))),
        (
            "web.yaml document 2: EndpointSlice/default/web-ipv4: endpoints[0].addresses[0]: no address ('10.244.1')"
            "; valid: an IPv4 or IPv6 address"
        ),
    ),
    "a port out of range": (
        text(manifest(service(ports=[{"port": 99999}]), endpoint_slice())),
        (
            "web.yaml document 1: Service/default/web: spec.ports[0].port: expected `int` <= 65535 (99999)"
            "; valid: 1 to 65535"
        ),
    ),
    "a bad item of a List": (
        text(
            manifest({"apiVersion": "v1", "kind": "List", "items": [endpoint_slice(), service(ports=[{"port": -1}])]})
        ),
        (
            "web.yaml document 1: Service/default/web: items[1].spec.ports[0].port: expected `int` >= 1 (-1)"
            "; valid: 1 to 65535"
        ),
    ),
    "a List without a list": (
        text("apiVersion: v1\nkind: List\nitems: {}\n"),
        "web.yaml document 1: items: not a list",
    ),
    "a bomb of aliases": (
        text("\n".join(["a0: &a0 [1]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 50}]" for i in range(1, 9))])),
        "web.yaml document 1: line 4: aliases repeat more than 100000 values",
    ),
}
CASES = pytest.mark.parametrize(("spoil", "problem"), BAD.values(), ids=BAD)


@CASES
@story
async def test_what_a_file_said_before_it_was_spoilt_keeps_serving(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(GOOD)
    (tmp_path / "other.yaml").write_text(OTHER)
    async with following(tmp_path) as follower:
        assert len((await follower.next()).changes) == 3
        spoil(file)
        assert await follower.until_problems() == [problem]
        (tmp_path / "new.yaml").write_text(manifest(service("new")))
        batch = await follower.next()
        assert summary(batch) == {"Service/default/new": [80]}
        file.rmdir() if file.is_dir() else file.unlink()
        assert await follower.changes() == {
            "EndpointSlice/default/web-ipv4": None,
            "Service/default/web": None,
        }
        assert follower.source.problems == ()


@CASES
@story
async def test_a_file_that_is_bad_from_the_start_serves_the_rest_and_allows_no_pruning(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    file = tmp_path / "web.yaml"
    spoil(file)
    (tmp_path / "other.yaml").write_text(OTHER)
    async with following(tmp_path) as follower:
        batch = await follower.next()
        assert summary(batch)["Service/default/other"] == [80]
        assert not batch.complete
        assert [str(found) for found in follower.source.problems] == [problem]
        file.rmdir() if file.is_dir() else file.unlink()
        assert (await follower.next()).complete


@story
async def test_a_file_that_is_mended_is_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("a: [")
    async with following(tmp_path) as follower:
        assert await follower.next() == ((), False)
        file.write_text(GOOD)
        batch = await follower.next()
        assert (len(batch.changes), batch.complete) == (2, True)
        assert follower.source.problems == ()


@story
async def test_a_bad_object_that_never_read_well_does_not_hide_the_others_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(manifest(service("a"), service("b", ports=[{}]), service("c")))
    async with following(tmp_path) as follower:
        batch = await follower.next()
        assert summary(batch) == {"Service/default/a": [80], "Service/default/c": [80]}
        assert not batch.complete


@story
async def test_what_happens_beside_a_bad_object_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(manifest(service("a"), service("b"), service("c")))
    async with following(tmp_path) as follower:
        await follower.next()
        file.write_text(manifest(service("a", ports=[{"port": 81}]), service("b", ports=[{}])))
        batch = await follower.next()
        assert summary(batch) == {"Service/default/a": [81], "Service/default/c": None}
        assert batch.complete  # b is known from before


@story
async def test_a_file_cut_in_the_middle_of_a_document_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    whole = manifest(*({**service(f"s{i}"), "metadata": {"name": f"s{i}", "labels": {"a": "b"}}} for i in range(9)))
    file.write_text(whole)
    async with following(tmp_path) as follower:
        await follower.next()
        file.write_text(whole[: whole.index("name: s4") + 2])
        await follower.until_problems()
        await follower.nothing_more()
        file.write_text(whole)
        await follower.until_problems(0)
        await follower.nothing_more()


@story
async def test_a_duplicate_takes_over_when_the_first_goes_even_if_the_first_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest(service("web", ports=[{"port": 80}])))
    (tmp_path / "b.yaml").write_text(manifest(service("web", ports=[{"port": 81}])))
    async with following(tmp_path) as follower:
        await follower.next()
        (tmp_path / "a.yaml").write_text("a: [")
        await follower.until_problems(2)
        await follower.nothing_more()
        (tmp_path / "a.yaml").unlink()
        assert await follower.changes() == {"Service/default/web": [81]}


@story
async def test_files_that_vanish_while_they_are_read_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(OTHER)
    async with following(tmp_path) as follower:
        await follower.next()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            for i in range(20):
                (tmp_path / f"{i}.yaml").write_text(GOOD)
            for i in range(20):
                (tmp_path / f"{i}.yaml").unlink()
            await follower.nothing_more() if time.monotonic() > deadline else None
        await follower.until_problems(0)
        served = {"Service/default/web": None}
        while not follower.batches.empty():
            served |= await follower.changes()
        assert served["Service/default/web"] is None


def test_a_file_that_is_gone_is_no_problem(tmp_path: Path) -> None:
    assert read_file(tmp_path / "web.yaml", None) is None


def test_a_file_that_changed_just_now_is_read_again_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen_after(seconds: float) -> Signature | None:
        now = file.stat().st_ctime + seconds
        monkeypatch.setattr(manifest_file, "time", SimpleNamespace(time=lambda: now))
        return signature(file)

    file = tmp_path / "web.yaml"
    file.write_text(GOOD)
    assert seen_after(0.04) is None  # it may change again within the same tick of the clock, to the same size
    before = seen_after(0.06)
    assert before is not None
    time.sleep(0.02)  # two such ticks
    file.write_text(GOOD)
    os.utime(file, (0, 0))
    assert seen_after(0.06) not in (None, before)


def test_only_the_first_100_problems_of_a_file_are_told_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("---\n- 1\n" * 123 + f"---\n{GOOD}")
    content = read_file(file, None)
    assert content is not None
    assert len(content.problems) == 101
    assert str(content.problems[-1]) == "web.yaml: 23 more problems"
    assert len(content.objects) == 2


def test_broken_json_is_a_problem_too(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps(service())[:-1])
    content = read_file(file, None)
    assert content is not None
    assert [str(problem) for problem in content.problems] == ["web.json document 1: Input data was truncated"]
    assert content.unread


@story
async def test_a_problem_is_logged_once_and_so_is_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "socklb")
    file = tmp_path / "web.yaml"
    file.write_text(manifest(service(ports=[{"port": 0}])))
    async with following(tmp_path) as follower:
        await follower.next()
        for i in range(3):
            (tmp_path / "other.yaml").write_text(manifest(service(f"s{i}")))
            await follower.next()
        file.write_text(GOOD)
        await follower.next()
    problem = "web.yaml document 1: Service/default/web: spec.ports[0].port: expected `int` >= 1 (0); valid: 1 to 65535"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("socklb")] == [
        f"left out: {problem}",
        f"no longer a problem: {problem}",
    ]


def test_a_list_that_is_misspelt_takes_nothing_away(tmp_path: Path) -> None:
    """Nobody can say whose objects are in a list that is not read: its Services would be gone from every node."""
    file = tmp_path / "web.yaml"
    file.write_text(manifest({"apiVersion": "v1", "kind": "List", "items": [service(), endpoint_slice()]}))
    before = read_file(file, None)
    assert before is not None
    file.write_text(manifest({"apiVersion": "v1", "kind": "Lists", "items": [service(), endpoint_slice()]}))
    content = read_file(file, before)
    assert content is not None
    assert content.objects == before.objects
    assert [problem.message for problem in content.problems] == ["Lists of v1 is not used; valid: List of v1"]


def test_a_second_document_of_json_with_a_number_that_nobody_can_read_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_bytes(b'{} {"a": ' + b"9" * 5000 + b"}")
    content = read_file(file, None)
    assert content is not None
    assert [problem.message for problem in content.problems] == ["an integer of thousands of digits"]
