"""The packet path in the agent: it finds the uplinks, follows them, and notices, tells and mends what is done to it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from socklb.config import Config
from socklb.datapath.links import detach_pinned
from socklb.datapath.maps import HashTable
from socklb.datapath.pins import Pins
from socklb.model import Addresses, pack_address
from socklb.report import DeviceFacts, PacketFacts
from socklb.tc import layout, tcx
from socklb.tc import path as tc_path
from socklb.tc.attached import Attached
from socklb.tc.path import TcPath
from socklb.tc.programs import OBJECT_FILES, Programs
from socklb.tc.seen import seen
from tests.packets.network import NODE, Network
from tests.support.waiting import until_async
from tests.tc.conftest import uplink

OWN = Addresses(own=frozenset({pack_address(NODE)}))


@pytest.fixture
def pins(bpffs: Path, objects: Path, tmp_path: Path) -> Iterator[Pins]:
    """Tables as the hooks have them: of those the agent's side of the packet path reads the node's own addresses."""
    place = Pins(bpffs, tmp_path)
    place.make()
    unused = bpffs / "unused"
    unused.mkdir()
    with Programs.load(objects, place.maps, unused):
        shutil.rmtree(unused)
    with closing(HashTable(place.maps, "own_addrs", 16, 1)) as table:
        table.put([(address, b"\1") for address in OWN.own])
    yield place
    place.remove()


@pytest.fixture
def copied(objects: Path, tmp_path: Path) -> Path:
    """The objects, in a folder where they may be missed."""
    for name in OBJECT_FILES:
        shutil.copy(objects / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def path(
    node: Network,
    eth0: int,
    pins: Pins,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> TcPath:
    assert tc_path.EVERY < 10 / 2
    monkeypatch.setattr(tc_path, "EVERY", 0.2)
    return TcPath(Config(node="node", max_flows=1024), pins, copied)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def shown(pins: Pins) -> dict[int, tuple[str, ...]]:
    """What the programs know of the uplinks."""
    with closing(HashTable(pins.tc_maps, "uplinks", 4, 32)) as table:
        return {int.from_bytes(key, "little"): (value[:16].hex(), value[16:].hex()) for key, value in table.items()}


def test_uplinks_are_served_once_everything_was_read(path: TcPath, eth0: int, pins: Pins) -> None:
    async def story() -> None:
        async with path.kept_whole():
            await asyncio.sleep(0.5)
            assert path.facts.whole is False
            path.serve()
            await until_async(lambda: path.facts.whole)
            (device,) = path.facts.devices
            assert (device.name, device.ifindex, device.addresses, device.trouble) == ("eth0", eth0, [NODE], "")
            here = (pack_address(NODE).hex(), "0" * 32)
            assert shown(pins) == {eth0: here, layout.ANY_UPLINK: here}
            assert path.problems == []
            assert [one.alive for one in path.running] == [True]

    asyncio.run(story())
    assert {pin.name for pin in pins.tc_links.iterdir()} == {f"uplink_in-{eth0}", f"uplink_out-{eth0}"}


def test_devices_that_come_and_go_are_followed(
    path: TcPath,
    node: Network,
    eth0: int,
    pins: Pins,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
            ip("link", "delete", "eth0")
            await until_async(lambda: not path.facts.devices)
            assert [one.message.partition(";")[0] for one in path.problems] == [
                "packet path: no uplink is found: nothing from outside is served"
            ]
            again = uplink(node)
            await until_async(lambda: [one.ifindex for one in path.facts.devices] == [again] and path.facts.whole)
            assert shown(pins).keys() == {again, layout.ANY_UPLINK}
            ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
            ip("address", "add", "10.7.0.1/24", "dev", "eth1")
            ip("link", "set", "eth1", "up")
            ip("link", "set", "far1", "up")
            ip("route", "add", "10.8.0.0/16", "via", "10.7.0.9")
            await until_async(lambda: [one.name for one in path.facts.devices] == ["eth0", "eth1"] and path.facts.whole)
            ip("route", "delete", "10.8.0.0/16")
            await until_async(lambda: [one.name for one in path.facts.devices] == ["eth0"])
            assert path.facts.damages == 0

    asyncio.run(story())
    assert len([line for line in caplog.messages if "no uplink is found" in line]) == 1


def test_what_somebody_takes_away_is_told_and_put_back(
    path: TcPath, eth0: int, pins: Pins, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
            detach_pinned(pins.tc_links / f"uplink_in-{eth0}")
            await until_async(lambda: path.facts.damages == 1 and path.facts.whole)
            assert path.facts.damage == "not attached: uplink_in at eth0"
            for pin in pins.tc_links.iterdir():
                pin.unlink()
            await until_async(lambda: path.facts.damages == 2 and path.facts.whole)
            assert path.facts.damage == "not pinned: uplink_in at eth0, uplink_out at eth0"

    asyncio.run(story())
    assert len([line for line in caplog.messages if "damaged from outside" in line]) == 2


def test_what_waits_for_the_programs_is_called_when_they_are_there(path: TcPath) -> None:
    async def story() -> None:
        called: list[object] = []
        async with path.kept_whole():
            path.after(lambda: called.append("nothing is to be served yet"))
            assert len(called) == 1
            path.serve()
            path.after(lambda: called.append(path.facts.whole))
            assert len(called) == 1
            await until_async(lambda: len(called) == 2)
            path.after(lambda: called.append("they are there"))
        assert called == ["nothing is to be served yet", True, "they are there"]

    asyncio.run(story())


@pytest.mark.parametrize("moved", [False, True], ids=["at first", "with other tables"])
def test_what_is_loaded_and_not_attached_yet_is_no_damage(
    node: Network, eth0: int, pins: Pins, copied: Path, monkeypatch: pytest.MonkeyPatch, *, moved: bool
) -> None:
    path = TcPath(Config(node="node", max_flows=1024, bypass_pods=True), pins, copied)  # with a program at lo
    follow, troubles = Attached.follow, list[DeviceFacts]()
    ended = threading.Event()

    def slow(attached: Attached) -> None:
        time.sleep(0.5)
        follow(attached)

    def look() -> None:
        while not ended.wait(0.01):
            troubles.extend(device for device in path.facts.devices if device.trouble)

    async def story() -> None:
        async with path.kept_whole():
            if not moved:
                monkeypatch.setattr(Attached, "follow", slow)
            looks = asyncio.create_task(asyncio.to_thread(look))
            path.serve()
            await until_async(lambda: path.facts.whole)
            if moved:
                monkeypatch.setattr(Attached, "follow", slow)
                path.tables_moved()
                await asyncio.sleep(1)
            ended.set()
            await looks

    asyncio.run(story())
    assert troubles == []


def test_when_it_is_to_serve_no_more_nothing_of_it_stays(path: TcPath, pins: Pins, copied: Path) -> None:
    async def story() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
        assert seen(pins).there
        off = TcPath(Config(node="node", packet_path=False), pins, copied)
        async with off.kept_whole():
            assert not off.facts.enabled
            assert seen(pins).there is False
            assert not pins.tc.exists()

    asyncio.run(story())


def test_what_cannot_be_loaded_is_told_and_tried_again(path: TcPath, copied: Path) -> None:
    async def story() -> None:
        for name in OBJECT_FILES:
            (copied / name).rename(copied / f"{name}.elsewhere")
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.problems)
            assert "No such file or directory" in path.problems[0].message
            assert path.facts.whole is False
            for name in OBJECT_FILES:
                (copied / f"{name}.elsewhere").rename(copied / name)
            await until_async(lambda: path.facts.whole and not path.problems)

    asyncio.run(story())


def test_an_agent_that_finds_served_tables_does_not_wait_for_the_source(
    path: TcPath, node: Network, eth0: int, pins: Pins, copied: Path
) -> None:
    async def story() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)
        before = {pin.name: pin.stat().st_ino for pin in pins.tc_links.iterdir()}
        again = TcPath(Config(node="node"), pins, copied, served=True)
        async with again.kept_whole():
            await until_async(lambda: again.facts.whole)
        assert {pin.name: pin.stat().st_ino for pin in pins.tc_links.iterdir()} == before

    asyncio.run(story())


def test_what_serves_is_seen_without_an_agent(path: TcPath, eth0: int, pins: Pins) -> None:
    async def story() -> None:
        async with path.kept_whole():
            path.serve()
            await until_async(lambda: path.facts.whole)

    asyncio.run(story())
    assert seen(pins) == PacketFacts(True, True, True, devices=[DeviceFacts("eth0", eth0, by(), [NODE])])
    detach_pinned(pins.tc_links / f"uplink_in-{eth0}")
    assert [device.trouble for device in seen(pins).devices] == ["uplink_in is not attached"]


def by() -> str:
    return "tcx" if tcx.FEATURE.there() else "clsact"
