"""Programs at devices: attached beside others', replaced in place, whole again after damage, removed by cleanup."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from socklb.bugreport.node import device_programs
from socklb.tc import links, tcx
from socklb.tc.clsact import HANDLE, PRIORITY
from socklb.tc.links import Links
from socklb.tc.places import Place, places
from tests.packets.network import CLIENT, NODE, Network
from tests.tc.conftest import Counting, uplink

Open = Callable[[Counting], Links]
AT = ("dev", "eth0", "ingress", "prio", str(PRIORITY), "handle", hex(HANDLE))


@pytest.fixture(params=["tcx", "clsact"])
def by_tcx(request: pytest.FixtureRequest, node: Network) -> bool:
    if request.param == "tcx":
        skip_without_tcx()
    return request.param == "tcx"


def skip_without_tcx() -> None:
    if not tcx.FEATURE.there():
        pytest.skip(f"this kernel lacks {tcx.FEATURE}")


@pytest.fixture
def pins(bpffs: Path) -> Iterator[Path]:
    place = bpffs / "links"
    yield place
    for pin in place.glob("*"):
        pin.unlink()


@pytest.fixture
def open_links(pins: Path, *, by_tcx: bool) -> Open:
    return lambda counting: Links(counting.programs, pins, by_tcx=by_tcx)


def ping(node: Network, times: int = 3) -> None:
    node.run("node", "ping", "-q", "-c", str(times), "-i", "0.01", "-W", "5", CLIENT)


def tc(*words: str) -> str:
    return subprocess.run(["tc", *words], check=True, capture_output=True, text=True).stdout


def test_every_packet_meets_them_and_goes_on(node: Network, eth0: int, counting: Counting, open_links: Open) -> None:
    with closing(open_links(counting)) as held:
        assert set(held.lacking(places([eth0])).values()) == {"not attached"}
        ping(node)
        assert counting.seen() == [0, 0]
        assert held.keep(places([eth0])) == []
        assert held.lacking(places([eth0])) == {}
        ping(node)
    assert all(count >= 3 for count in counting.seen())


def test_a_report_names_them_and_those_of_others(
    eth0: int, counting: Counting, bpffs: Path, open_links: Open, *, by_tcx: bool
) -> None:
    tc("qdisc", "add", "dev", "eth0", "clsact")
    theirs = ("bpf", "da", "object-pinned", pinned(counting, bpffs))
    tc("filter", "add", "dev", "eth0", "ingress", "prio", "7", *theirs)
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
        told = device_programs()
    assert "filter: ingress, priority 7: bpf program" in told
    assert f" eth0 veth {NODE}" in told
    if by_tcx:
        assert re.search(r"tcx ingress: program \d+ \(uplink_in, loaded by uid 0", told)
        assert re.search(r"tcx egress: program \d+ \(uplink_out, ", told)
    else:
        assert f"filter: ingress, priority {PRIORITY}: bpf uplink_in" in told
        assert f"filter: egress, priority {PRIORITY}: bpf uplink_out" in told


def test_without_an_agent_they_go_on_and_the_next_one_replaces_them_in_place(
    node: Network, eth0: int, counting: Counting, newer: Counting, open_links: Open
) -> None:
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
    before = counting.seen()
    ping(node)
    assert all(now >= was + 3 for now, was in zip(counting.seen(), before, strict=True))
    with closing(open_links(newer)) as held:
        assert held.keep(places([eth0])) == []
        assert held.lacking(places([eth0])) == {}
        before = counting.seen()
        ping(node)
        assert counting.seen() == before
        assert all(count >= 3 for count in newer.seen())


def test_a_device_that_is_no_uplink_any_more_is_let_go(
    node: Network, eth0: int, counting: Counting, open_links: Open
) -> None:
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
    with closing(open_links(counting)) as held:
        assert held.keep(places([])) == []
        assert set(held.lacking(places([eth0])).values()) == {"not attached"}
        before = counting.seen()
        ping(node)
        assert counting.seen() == before
    assert "clsact" not in tc("qdisc", "show", "dev", "eth0")


def test_a_device_that_was_made_again_is_served_again(
    node: Network, eth0: int, counting: Counting, open_links: Open, pins: Path
) -> None:
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
        subprocess.run(["ip", "link", "delete", "eth0"], check=True)
        assert set(held.lacking(places([eth0])).values()) == {"not attached"}
        assert held.keep(places([])) == []
        again = uplink(node)
        assert again != eth0
        assert held.keep(places([again])) == []
        assert held.lacking(places([again])) == {}
        assert {pin.name for pin in pins.iterdir()} <= {f"uplink_in-{again}", f"uplink_out-{again}"}
        ping(node)
    assert all(count >= 3 for count in counting.seen())


def test_one_device_that_cannot_be_served_does_not_keep_the_others_from_it(
    node: Network, eth0: int, counting: Counting, open_links: Open
) -> None:
    nobody = 12345
    with closing(open_links(counting)) as held:
        failures = held.keep(places([nobody, eth0]))
        assert len(failures) == 2
        assert all(f"device {nobody}: No such device" in text for text in failures)
        assert {place.ifindex for place in held.lacking(places([nobody, eth0]))} == {nobody}


def test_programs_of_others_stay(node: Network, eth0: int, counting: Counting, newer: Counting, bpffs: Path) -> None:
    """Whichever way each of the two is attached by: both see every packet."""
    for other_tcx, ours_tcx in ((False, False), (True, True), (True, False), (False, True)):
        if (other_tcx or ours_tcx) and not tcx.FEATURE.there():
            continue
        other = Links(newer.programs, bpffs / "other", by_tcx=other_tcx)
        if not other_tcx:
            tc("qdisc", "add", "dev", "eth0", "clsact")
            tc("filter", "add", *AT[:3], "prio", "1", "handle", "1", "bpf", "da", "object-pinned", pinned(newer, bpffs))
        else:
            other.keep(places([eth0]))
        ours = Links(counting.programs, bpffs / "ours", by_tcx=ours_tcx)
        before = counting.seen()[0], newer.seen()[0]
        assert ours.keep(places([eth0])) == []
        ping(node)
        assert all(now >= was + 3 for now, was in zip((counting.seen()[0], newer.seen()[0]), before, strict=True))
        assert ours.keep(places([])) == []
        between = newer.seen()[0]
        ping(node)
        assert newer.seen()[0] >= between + 3
        other.keep(places([]))
        tc("qdisc", "delete", "dev", "eth0", "clsact") if not other_tcx else None
        ours.close()
        other.close()


def pinned(counting: Counting, bpffs: Path) -> str:
    from socklb.datapath import libbpf

    pin = bpffs / "program"
    pin.unlink(missing_ok=True)
    libbpf.pin(counting.programs["uplink_in"].fd, pin)
    return str(pin)


@pytest.mark.parametrize(
    ("by_tcx", "damage", "told"),
    [
        pytest.param(True, lambda pins, eth0: (pins / f"uplink_in-{eth0}").unlink(), "not pinned", id="unpinned"),
        pytest.param(True, lambda pins, eth0: detach(pins / f"uplink_in-{eth0}"), "not attached", id="link detached"),
        pytest.param(False, lambda *_: tc("filter", "delete", *AT, "bpf"), "not attached", id="filter deleted"),
        pytest.param(False, lambda *_: tc("filter", "delete", *AT[:3]), "not attached", id="all filters deleted"),
        pytest.param(False, lambda *_: tc("qdisc", "delete", "dev", "eth0", "clsact"), "not attached", id="no clsact"),
    ],
)
def test_damage_is_seen_and_mended(
    node: Network,
    eth0: int,
    counting: Counting,
    pins: Path,
    damage: Callable[[Path, int], object],
    told: str,
    *,
    by_tcx: bool,
) -> None:
    if by_tcx:
        skip_without_tcx()
    with closing(Links(counting.programs, pins, by_tcx=by_tcx)) as held:
        held.keep(places([eth0]))
        damage(pins, eth0)
        assert held.lacking(places([eth0]))[Place("uplink_in", eth0)] == told
        assert held.keep(places([eth0])) == []
        assert held.lacking(places([eth0])) == {}
        before = counting.seen()
        ping(node)
        assert all(now >= was + 3 for now, was in zip(counting.seen(), before, strict=True))


def detach(pin: Path) -> None:
    from socklb.datapath.links import detach_pinned

    detach_pinned(pin)


def test_a_program_of_somebody_else_in_our_link_is_told_and_ours_put_back(
    node: Network, eth0: int, counting: Counting, newer: Counting, pins: Path, open_links: Open
) -> None:
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
        with closing(open_links(newer)) as other:
            other.keep(places([eth0]))
        assert set(held.lacking(places([eth0])).values()) == {"running a program that is not ours"}
        assert held.keep(places([eth0])) == []
        assert held.lacking(places([eth0])) == {}


def test_a_filter_of_somebody_else_in_our_place_is_named_and_stays(
    node: Network, eth0: int, counting: Counting, newer: Counting, bpffs: Path, pins: Path
) -> None:
    tc("qdisc", "add", "dev", "eth0", "clsact")
    pin = pinned(newer, bpffs)
    tc("filter", "add", "dev", "eth0", "egress", *AT[3:], "bpf", "da", "object-pinned", pin)  # uplink_in at egress
    with closing(Links(counting.programs, pins, by_tcx=False)) as held:
        (failure,) = held.keep(places([eth0]))
        assert "a filter of somebody else is in the place of ours" in failure
        assert held.keep(places([])) == []
        before = newer.seen()
        ping(node)
        assert newer.seen()[0] >= before[0] + 3


def test_cleanup_leaves_nothing(node: Network, eth0: int, counting: Counting, pins: Path, open_links: Open) -> None:
    with closing(open_links(counting)) as held:
        held.keep(places([eth0]))
    assert links.remove(pins) == 2
    assert links.remove(pins) == 0
    assert list(pins.glob("*")) == []
    assert "clsact" not in tc("qdisc", "show", "dev", "eth0")
    before = counting.seen()
    ping(node)
    assert counting.seen() == before
