"""A folder of manifests, with real files and the real watcher: what is read, and when it is read again."""

import asyncio
import json
import os
import shutil
from contextlib import aclosing
from pathlib import Path

import pytest

from socklb.api import manifest_file, manifests
from tests.unit.agent.following import following, story, summary
from tests.unit.agent.shapes import endpoint_slice, manifest, node, service


def web(port: int = 80) -> str:
    return manifest(service("web", ports=[{"port": port}]))


@story
async def test_the_first_batch_says_all_that_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest(service("web"), endpoint_slice("web")))
    (tmp_path / "b.yml").write_text(manifest(node("w1", "172.18.0.3"), service("shop")))
    (tmp_path / "c.json").write_text(json.dumps(service("json", clusterIP=None)))
    async with following(tmp_path) as follower:
        batch = await follower.next()
    assert batch.complete
    assert [f"{change.kind}/{change.key}" for change in batch.changes] == [
        "EndpointSlice/default/web-ipv4",
        "Node/w1",
        "Service/default/json",
        "Service/default/shop",
        "Service/default/web",
    ]


@story
async def test_an_empty_folder_says_at_once_that_it_is_complete(tmp_path: Path) -> None:
    async with following(tmp_path) as follower:
        assert await follower.next() == ((), True)


@story
async def test_a_list_says_its_items(tmp_path: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [service("a"), service("b"), {**service(), "kind": "Pod"}]}
    (tmp_path / "list.yaml").write_text(manifest(listed))
    async with following(tmp_path) as follower:
        assert await follower.changes() == {"Service/default/a": [80], "Service/default/b": [80]}
        assert follower.source.problems == ()


@story
async def test_other_files_and_kinds_are_passed_over(tmp_path: Path) -> None:
    for name in ("notes.txt", ".hidden.yaml", "web.yaml~", ".#web.yaml", ".web.yaml.swp"):
        (tmp_path / name).write_text("a: [")
    (tmp_path / "pod.yaml").write_text(manifest({"apiVersion": "v1", "kind": "Pod", "spec": {}}))
    (tmp_path / "comment.yaml").write_text("# nothing\n---\n---\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "web.yaml").write_text(web())
    async with following(tmp_path) as follower:
        assert await follower.next() == ((), True)
        assert follower.source.problems == ()


@story
async def test_files_come_change_and_go(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    async with following(tmp_path) as follower:
        assert await follower.changes() == {}
        file.write_text(web(80))
        assert await follower.changes() == {"Service/default/web": [80]}
        file.write_text(web(81))
        assert await follower.changes() == {"Service/default/web": [81]}
        file.unlink()
        assert await follower.changes() == {"Service/default/web": None}
        await follower.nothing_more()


@story
async def test_every_change_is_told_at_whatever_moment_it_comes(tmp_path: Path) -> None:
    """How soon is measured in bench/."""
    file = tmp_path / "web.yaml"
    async with following(tmp_path) as follower:
        await follower.next()
        for port in range(1, 24):
            await asyncio.sleep(0.001 * port)  # at any phase of whatever ticks
            file.write_text(web(port))
            assert len((await follower.next()).changes) == 1


@story
async def test_what_is_written_while_the_folder_is_first_read_is_not_missed(tmp_path: Path) -> None:
    for i in range(200):
        (tmp_path / f"{i}.yaml").write_text(manifest(service(f"s{i}")))
    async with following(tmp_path) as follower:
        await asyncio.sleep(0.01)
        (tmp_path / "0.yaml").write_text(manifest(service("s0", ports=[{"port": 81}])))
        ports: list[int] = []
        while ports != [81]:
            ports = (await follower.changes()).get("Service/default/s0", ports)


@story
async def test_one_changed_file_among_500_is_read_alone_and_tells_its_own_changes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, names = manifests.read_file, list[str]()
    monkeypatch.setattr(manifests, "read_file", lambda path, before: names.append(path.name) or read(path, before))
    for i in range(500):
        (tmp_path / f"{i}.yaml").write_text(manifest(service(f"s{i}"), endpoint_slice(f"s{i}")))
    await asyncio.sleep(2 * manifest_file.FRESH_SECONDS)
    async with following(tmp_path) as follower:
        assert len((await follower.next()).changes) == 1000
        names.clear()
        grown = endpoint_slice("s250", endpoints=[{"addresses": ["10.1.1.1"]}], generation=2)
        (tmp_path / "250.yaml").write_text(manifest(service("s250"), grown))
        assert await follower.changes() == {"EndpointSlice/default/s250-ipv4": ["10.1.1.1"]}
        await follower.nothing_more()
        assert set(names) == {"250.yaml"}


@story
async def test_one_changed_document_among_500_is_the_only_one_that_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, parsed = tmp_path / "all.yaml", list[bytes]()
    load = manifest_file.load_yaml
    monkeypatch.setattr(manifest_file, "load_yaml", lambda text, line: parsed.append(text) or load(text, line))
    services = [service(f"s{i}") for i in range(500)]
    file.write_text(manifest(*services))
    async with following(tmp_path) as follower:
        await follower.next()
        assert len(parsed) == 500
        services[250] = service("s250", ports=[{"port": 81}])
        file.write_text(manifest(*services))
        assert await follower.changes() == {"Service/default/s250": [81]}
        assert len(parsed) == 501


@story
async def test_a_file_that_says_the_same_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(web())
    async with following(tmp_path) as follower:
        await follower.next()
        file.write_text(f"# written anew\n{web()}status: {{}}\n")
        file.chmod(0o600)
        (tmp_path / "renamed.yaml").unlink(missing_ok=True)
        file.rename(tmp_path / "renamed.yaml")
        await follower.nothing_more()


@story
async def test_a_file_written_twice_at_the_same_moment_with_the_same_size_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    async with following(tmp_path) as follower:
        await follower.next()
        for port in range(10, 40):
            file.write_text(web(port))
            await asyncio.sleep(0.012 + port % 5 * 0.001)
        last = {}
        while last != {"Service/default/web": [39]}:
            last = await follower.changes()


@story
async def test_a_file_replaced_by_renaming_is_seen(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(web(80))
    async with following(tmp_path) as follower:
        await follower.next()
        (tmp_path / "web.yaml.new").write_text(web(81))
        (tmp_path / "web.yaml.new").rename(tmp_path / "web.yaml")
        assert await follower.changes() == {"Service/default/web": [81]}


@story
async def test_a_mounted_config_map_is_swapped_at_once(tmp_path: Path) -> None:
    """As kubelet does it: files are links to ..data/NAME, ..data a link that is replaced by renaming."""

    def publish(name: str, files: dict[str, str]) -> None:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish("..2026_01", {"web.yaml": web(80), "shop.yaml": manifest(service("shop"))})
    for file in ("web.yaml", "shop.yaml"):
        (tmp_path / file).symlink_to(f"..data/{file}")
    async with following(tmp_path) as follower:
        assert len((await follower.next()).changes) == 2
        publish("..2026_02", {"web.yaml": web(81), "shop.yaml": manifest(service("shop"))})
        shutil.rmtree(tmp_path / "..2026_01")
        assert await follower.changes() == {"Service/default/web": [81]}
        await follower.nothing_more()


@story
async def test_the_same_object_in_two_files_is_served_from_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(web(80))
    (tmp_path / "b.yaml").write_text(manifest(service("shop"), service("web", ports=[{"port": 81}])))
    async with following(tmp_path) as follower:
        batch = await follower.next()
        assert summary(batch)["Service/default/web"] == [80]
        assert batch.complete
        assert await follower.until_problems() == [
            "b.yaml document 2: Service/default/web: metadata.name: also in a.yaml document 1, which serves"
        ]
        (tmp_path / "a.yaml").unlink()
        assert await follower.changes() == {"Service/default/web": [81]}
        assert follower.source.problems == ()
        (tmp_path / "a.yaml").write_text(web(80))
        assert await follower.changes() == {"Service/default/web": [80]}


@story
async def test_the_same_object_twice_in_a_file_is_served_from_the_first_document(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest(service(ports=[{"port": 80}]), service(ports=[{"port": 81}])))
    async with following(tmp_path) as follower:
        assert await follower.changes() == {"Service/default/web": [80]}
        assert await follower.until_problems() == [
            "a.yaml document 2: Service/default/web: metadata.name: also in document 1 of this file, which serves"
        ]
        (tmp_path / "a.yaml").write_text(web(81))
        assert await follower.changes() == {"Service/default/web": [81]}


@story
async def test_a_folder_that_is_absent_is_a_problem_until_it_appears(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    async with following(folder) as follower:
        assert await follower.next() == ((), False)
        assert await follower.until_problems() == [
            f"{folder}: cannot be read: No such file or directory; next: mkdir -p {folder}"
        ]
        folder.mkdir()
        (folder / "web.yaml").write_text(web())
        ports, complete = None, False
        while ports != [80] or not complete:
            batch = await follower.next()
            ports, complete = summary(batch).get("Service/default/web", ports), batch.complete
        assert follower.source.problems == ()
        (folder / "web.yaml").write_text(web(81))
        assert await follower.changes() == {"Service/default/web": [81]}


@story
async def test_a_folder_that_is_moved_away_leaves_its_last_state_serving(tmp_path: Path) -> None:
    folder, away = tmp_path / "manifests", tmp_path / "away"
    folder.mkdir()
    (folder / "web.yaml").write_text(web())
    async with following(folder) as follower:
        assert (await follower.next()).complete
        folder.rename(away)
        await follower.until_problems()
        await follower.nothing_more()
        folder.mkdir()
        (folder / "web.yaml").write_text(web(81))
        changes = {}
        while changes != {"Service/default/web": [81]}:
            changes = await follower.changes()
        (folder / "web.yaml").write_text(web(82))
        async with asyncio.timeout(2):  # by the watch, before the next look that the clock makes
            assert await follower.changes() == {"Service/default/web": [82]}


@story
async def test_a_folder_that_is_a_link_follows_it_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socklb.api.watch.RESCAN_MS", 100)  # inotify says nothing of it
    for name, port in (("one", 80), ("two", 81)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.yaml").write_text(web(port))
    (tmp_path / "manifests").symlink_to("one")
    async with following(tmp_path / "manifests") as follower:
        assert await follower.changes() == {"Service/default/web": [80]}
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "manifests")
        assert await follower.changes() == {"Service/default/web": [81]}
        await asyncio.sleep(0.7)
        (tmp_path / "two" / "web.yaml").write_text(web(82))
        assert await follower.changes() == {"Service/default/web": [82]}


@story
async def test_the_event_loop_is_free_while_a_large_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(manifest(*(service(f"s{i}") for i in range(2000))))
    turns = 0
    async with following(tmp_path) as follower:
        while follower.batches.empty():
            await asyncio.sleep(0.001)
            turns += 1
        assert len((await follower.next()).changes) == 2000
    assert turns > 5


@story
async def test_without_a_watch_the_folder_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("socklb.api.watch.awatch", none_left)
    monkeypatch.setattr("socklb.api.watch.ABSENT_SECONDS", 0.02)
    async with following(tmp_path) as follower:
        await follower.next()
        (tmp_path / "web.yaml").write_text(web())
        assert await follower.changes() == {"Service/default/web": [80]}
        await follower.nothing_more()
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["[Errno 24] Too many open files"]


def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    content = manifest_file.read_file(tmp_path / "pipe.yaml", None)
    assert content is not None
    assert [problem.message for problem in content.problems] == ["no regular file; valid: a file"]


@story
async def test_asked_for_anew_it_tells_everything_again(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(web(80))
    async with following(tmp_path) as follower:
        assert await follower.changes() == {"Service/default/web": [80]}
        source = follower.source
    async with aclosing(source.batches()) as batches:
        assert summary(await anext(batches)) == {"Service/default/web": [80]}
