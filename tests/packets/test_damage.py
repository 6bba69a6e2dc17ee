"""Whatever somebody else does to the packet path is noticed, named and mended, and holds up nobody."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from socklb.datapath import libbpf
from socklb.datapath.links import detach_pinned
from socklb.datapath.maps import HashTable, map_info
from socklb.model import ANY4, ANY6, Frontend, pack_address
from socklb.tc import layout, links, tcx
from socklb.tc import path as tc_path
from socklb.tc.attached import Attached
from socklb.tc.clsact import HANDLE, PRIORITY
from socklb.tc.links import Links
from socklb.tc.path import TcPath
from socklb.tc.places import Place
from socklb.tc.programs import Programs
from socklb.tc.rtnetlink import name_of
from tests.packets.conftest import Ask, Node, frontend, serving, wait_until
from tests.packets.network import CLIENT, CLIENT6, NODE, NODE6

SERVICE, OTHER, EXTERNAL = "10.96.0.10", "10.96.0.11", "192.0.2.1"
WANTED = {
    frontend(SERVICE): serving("b"),
    frontend(OTHER): serving(),
    Frontend(ANY4, 32000, 6): serving("a"),
    Frontend(ANY6, 32000, 6): serving("far", six=True),
    frontend(EXTERNAL): serving("far", sources=(f"{CLIENT}/32", "198.51.100.0/25")),
}
ALL = [["b 10.244.1.2"], ["ECONNREFUSED"], [f"a {CLIENT}"], [f"far {NODE6}"], [f"far {NODE}"], [f"b {NODE}"]]


def served(ask: Ask) -> list[list[str]]:
    asked = (
        *(("a", SERVICE), ("a", OTHER), ("client", NODE, 32000), ("client", NODE6, 32000)),
        *(("client", EXTERNAL), ("node", SERVICE)),
    )
    return [ask(*one) for one in asked]


def table(node: Node, name: str, value_size: int) -> closing[HashTable]:
    return closing(HashTable(node.pins.tc_maps, name, layout.IFINDEX.size, value_size))


def empty(node: Node, name: str, value_size: int) -> None:
    with table(node, name, value_size) as elements:
        elements.delete([key for key, _ in elements.items()])


def stand_for_another(node: Node) -> None:
    with table(node, "uplinks", layout.UPLINK.size) as elements:
        ours = elements.items()
        elements.put([(key, layout.UPLINK.pack(pack_address(CLIENT), pack_address(CLIENT6))) for key, _ in ours])


def a_device_of_nobody(node: Node) -> None:
    with table(node, "pod_devices", 1) as elements:
        elements.put([(layout.IFINDEX.pack(4711), b"\1")])


def detach(node: Node, program: str = "*") -> None:
    """As `bpftool link detach` does, or `tc filter delete`."""
    with node.network.inside("node"), closing(Links({}, node.pins.tc_links)) as there:
        for place in there.there():
            if program not in (place.program, "*"):
                continue
            if there.name == "tcx":
                detach_pinned(node.pins.tc_links / f"{place.program}-{place.ifindex}")
            else:
                at = ("dev", name_of(place.ifindex), "ingress" if place.ingress else "egress")
                number = ("prio", str(PRIORITY), "handle", hex(HANDLE))
                node.network.run("node", "tc", "filter", "delete", *at, *number, "bpf")


def unpin(folder: Path) -> None:
    aside = folder.with_name("aside")
    folder.rename(aside)
    shutil.rmtree(aside)


def take_away_what_holds_programs(node: Node) -> None:
    """The pins of tcx links, or a clsact qdisc."""
    if tcx.FEATURE.there():
        unpin(node.pins.tc_links)
    else:
        node.network.run("node", "tc", "qdisc", "delete", "dev", "a", "clsact")


DAMAGES: Mapping[str, tuple[Callable[[Node], object], str]] = {
    "an uplink's program detached": (lambda node: detach(node, "uplink_in"), "not attached: uplink_in at eth0"),
    "pods' programs detached": (lambda node: detach(node, "pod_in"), "not attached: pod_in at"),
    "all programs detached": (detach, "not attached: "),
    "what holds programs": (take_away_what_holds_programs, "pod_in at a"),
    "uplinks emptied": (lambda node: empty(node, "uplinks", layout.UPLINK.size), "changed: table uplinks"),
    "uplinks changed": (stand_for_another, "changed: table uplinks"),
    "pods' devices emptied": (lambda node: empty(node, "pod_devices", 1), "changed: table pod_devices"),
    "a pod's device added": (a_device_of_nobody, "changed: table pod_devices"),
    "a table unpinned": (lambda node: (node.pins.tc_maps / "flows").unlink(), "not pinned: table flows"),
    "everything unpinned": (lambda node: unpin(node.pins.tc), "not pinned: table flow_index"),
}
EVERY = pytest.mark.parametrize("what", DAMAGES)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tc_path, "EVERY", 0.2)


@EVERY
def test_damage_is_noticed_named_and_mended(
    node: Node, ask: Ask, what: str, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    damage, told = DAMAGES[what]
    node.sync(WANTED)
    before = node.facts.damages
    damage(node)
    wait_until(lambda: node.facts.damages > before and node.facts.whole)
    time.sleep(0.5)  # a look may fall into the middle of it
    found = [line for line in caplog.messages if "damaged from outside" in line]
    assert node.facts.damages == before + len(found)
    assert any(told in line for line in found)
    assert served(ask) == ALL
    assert node.path.problems == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_damage_that_is_done_while_the_agent_looks_is_told_too(
    node: Node, quick: None, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Also where the very next step puts it back, or is done already."""
    keep, done = Links.keep, list[int]()

    def keep_and_damage(self: Links, wanted: Collection[Place]) -> list[str]:
        if when == "before" and not done:
            detach(node, "uplink_in")
        failures = keep(self, wanted)
        if when == "after" and not done:
            detach(node, "uplink_in")
        done.append(1)
        return failures

    node.sync(WANTED)
    time.sleep(0.5)
    before = node.facts.damages
    monkeypatch.setattr(Links, "keep", keep_and_damage)
    node.path.serve()
    wait_until(lambda: done and node.facts.damages == before + 1)
    assert node.facts.damage == "not attached: uplink_in at eth0"


@EVERY
def test_damage_that_was_done_while_no_agent_ran_is_mended_by_the_next(node: Node, ask: Ask, what: str) -> None:
    node.sync(WANTED)
    node.close()
    try:
        DAMAGES[what][0](node)
    finally:
        node.open()
    node.sync(WANTED)
    assert served(ask) == ALL


def test_whatever_goes_wrong_is_told_and_tried_again(
    node: Node, ask: Ask, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two looks fail in two ways, neither of which anybody thought of."""
    failures: list[Exception] = [ValueError("a value"), OSError(105, "No buffer space available")]
    problems: list[str] = []
    mend = Attached.mend

    def fail_first(self: Attached) -> str:
        problems.extend(problem.message for problem in node.path.problems)
        if failures:
            raise failures.pop(0)
        return mend(self)

    node.sync(WANTED)
    monkeypatch.setattr(Attached, "mend", fail_first)
    wait_until(lambda: not failures and not node.path.problems)
    told = ["packet path: ValueError: a value", "packet path: OSError: [Errno 105] No buffer space available"]
    assert problems == told
    assert [line for line in caplog.messages if line in told] == told
    assert served(ask) == ALL


def test_what_goes_wrong_where_it_cannot_even_be_told_is_tried_again(
    node: Node, ask: Ask, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory ends, whatever handles its end may lack it too."""
    without_memory = [MemoryError(), MemoryError()]
    mend = Attached.mend

    def fail_first(self: Attached) -> str:
        if len(without_memory) == 2:
            raise without_memory.pop()
        return mend(self)

    def error(*_: object) -> None:
        raise without_memory.pop()

    node.sync(WANTED)
    monkeypatch.setattr(Attached, "mend", fail_first)
    monkeypatch.setattr(tc_path.log, "error", error)
    wait_until(lambda: not without_memory)
    wait_until(lambda: not node.path.problems)
    DAMAGES["all programs detached"][0](node)
    wait_until(lambda: served(ask) == ALL)


def test_it_holds_up_nothing(node: Node, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while the kernel takes its time over the programs."""
    load, kernel_is_done = Programs.load, threading.Event()

    def slowly(*arguments: object, **how: object) -> Programs:
        assert kernel_is_done.wait(30)
        return load(*arguments, **how)  # type: ignore[arg-type]

    node.close()
    monkeypatch.setattr(Programs, "load", slowly)
    node.open()
    node.path.serve()
    for n in range(100):
        node.apply({frontend(f"10.96.3.{n}"): serving("b")})
    assert not node.facts.there
    kernel_is_done.set()
    node.sync(WANTED)
    assert served(ask) == ALL


def test_the_ports_of_an_uplink_are_no_devices_of_pods_even_if_it_is_in_no_table(node: Node, ask: Ask) -> None:
    """The uplink is a bridge here. Programs at its ports would translate a packet once more than those at itself do."""
    node.sync({frontend("10.96.0.10"): serving("far")})
    for _ in range(3):
        empty(node, "uplinks", layout.UPLINK.size)
        ask("node", "10.96.0.10")
        wait_until(lambda: node.facts.whole)
    assert ask("node", "10.96.0.10") == [f"far {NODE}"]
    assert {device.name for device in node.facts.devices if device.of_pods} == {"a", "b"}


def numbers(node: Node) -> dict[str, int]:
    """Return the kernel's numbers of the tables that are pinned."""
    found: dict[str, int] = {}
    for pin in node.pins.tc_maps.iterdir():
        descriptor = libbpf.get_pinned(pin)
        found[pin.name] = map_info(descriptor, pin.name).id
        os.close(descriptor)
    return found


def test_tables_that_lost_their_pins_while_no_agent_ran_are_found_in_the_programs(node: Node, ask: Ask) -> None:
    """Not made anew beside others of before, whose row numbers would mean something else."""
    node.sync(WANTED)
    before = numbers(node)
    node.close()
    for name in ("flows", "pair_filter", "masquerade_filter", "uplinks"):
        (node.pins.tc_maps / name).unlink()
    for name in ("frontends", "loads"):
        (node.pins.maps / name).unlink()
    node.open()
    node.apply({frontend(f"10.96.4.{n}"): serving("far") for n in range(50)})
    assert served(ask) == ALL
    node.sync(WANTED)
    assert numbers(node) == before
    assert served(ask) == ALL


@pytest.mark.parametrize("lost", layout.TOGETHER)
def test_a_table_of_flows_that_nobody_holds_takes_the_others_with_it(
    node: Node, ask: Ask, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    """As where filters, which hold no table by a pin, were attached by clsact."""
    node.sync(WANTED)
    before = numbers(node)
    node.close()
    (node.pins.tc_maps / lost).unlink()
    with node.network.inside("node"):
        links.remove(node.pins.tc_links)
    node.open()
    node.sync(WANTED)
    wait_until(lambda: served(ask) == ALL)
    assert not {*numbers(node).values()} & {*before.values()}
    assert f"packet path: flows end, for a table is gone: {lost}" in caplog.text


def test_tables_are_pinned_again_before_programs_are_loaded_anew(
    node: Node, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the hooks' tables have grown: one without its pin would be made anew."""
    load = TcPath._load

    def unpinned_first(self: TcPath) -> None:
        links.remove(node.pins.tc_links)
        shutil.rmtree(node.pins.tc_maps)
        load(self)

    node.sync(WANTED)
    before = numbers(node)
    monkeypatch.setattr(TcPath, "_load", unpinned_first)
    node.path.tables_moved()
    wait_until(lambda: not node.path.problems and node.pins.tc_maps.is_dir())
    wait_until(lambda: served(ask) == ALL)
    assert numbers(node) == before


def test_no_table_of_the_hooks_is_made_by_the_packet_path(node: Node) -> None:
    """Not even where all have lost their pins: the hooks would go on with those that they have."""
    node.close()
    node.open()
    for pin in node.pins.maps.iterdir():
        pin.unlink()
    node.path.serve()
    wait_until(lambda: "not pinned: the tables of the hooks" in "".join(one.message for one in node.path.problems))
    assert not [*node.pins.maps.iterdir()]
    node.close()
    node.open()
    node.sync(WANTED)
