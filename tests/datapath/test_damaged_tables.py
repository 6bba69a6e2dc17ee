"""Elements that somebody else wrote, or damaged: whoever reads back takes them out, says so, and writes them anew."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, Sandbox, ask_tcp
from socklb.datapath import dump, layout
from socklb.datapath.libbpf import BpfError
from socklb.datapath.maps import HashTable, RowTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.writer import MapWriter
from socklb.model import Difference, Frontend
from socklb.sockets.records import Records
from tests.datapath.services import SERVICE4, frontend, serving, web

DAMAGED, OTHER = frontend(SERVICE4), frontend("10.96.0.11")


def lead(maps: Path, key: bytes, row: int) -> None:
    with closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as elements:
        elements.put([(key, layout.ROW_INDEX.pack(row))])


def row_of(maps: Path, wanted: Frontend) -> int:
    with closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as elements:
        (row,) = layout.ROW_INDEX.unpack(dict(elements.items())[layout.pack_frontend(wanted)])
        return int(row)


def beyond_the_rows(maps: Path) -> None:
    lead(maps, layout.pack_frontend(DAMAGED), (1 << 32) - 1)


def to_the_row_of_another(maps: Path) -> None:
    lead(maps, layout.pack_frontend(DAMAGED), row_of(maps, OTHER))


def to_a_row_of_nobody(maps: Path) -> None:
    lead(maps, layout.pack_frontend(DAMAGED), 1000)


def to_backends_beyond_the_table(maps: Path) -> None:
    with closing(RowTable(maps, "frontend_rows", layout.FRONTEND_ROW.size)) as rows:
        rows.publish(row_of(maps, DAMAGED), layout.SET_OFFSET, layout.pack_set((1 << 32) - 4, 2))


def under_a_key_that_no_hook_asks_for(maps: Path) -> None:
    """Padding that is not zero."""
    lead(maps, layout.pack_frontend(DAMAGED)[:-1] + b"\1", row_of(maps, DAMAGED))


DAMAGE = [
    beyond_the_rows,
    to_the_row_of_another,
    to_a_row_of_nobody,
    to_backends_beyond_the_table,
    under_a_key_that_no_hook_asks_for,
]


@pytest.fixture
def served(datapath: NodeDatapath) -> NodeDatapath:
    datapath.tables.apply(web())
    datapath.tables.apply(Difference(put={OTHER: serving(BACKENDS4[7])}))
    return datapath


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_element_that_leads_astray_is_taken_out_told_and_written_anew(
    served: NodeDatapath, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    maps, wanted = served.pins.maps, served.tables.serving(DAMAGED)
    assert wanted
    damage(maps)
    dump.fill(maps, dump.read_frontends(maps))  # whoever looks meanwhile is not astonished
    with caplog.at_level(logging.WARNING):
        served.tables.read_back()
    assert "1 of its elements led astray" in caplog.text
    assert served.tables.repairs == 1
    assert served.tables.serving(OTHER) == serving(BACKENDS4[7])
    served.tables.apply(Difference(put={DAMAGED: wanted}))
    assert dump.read_frontends(maps) == {**web().put, OTHER: serving(BACKENDS4[7])}
    assert sandbox.run(lambda: ask_tcp(SERVICE4, 80))[0] in BACKENDS4[:2]
    assert sandbox.run(lambda: ask_tcp("10.96.0.11", 80))[0] == BACKENDS4[7]
    with closing(MapWriter(maps)) as again:
        assert not again.repairs, "nothing of it is left"


def test_what_an_agent_lent_that_was_killed_is_taken_out(datapath: NodeDatapath) -> None:
    own = frontend("127.0.0.1", socket.IPPROTO_UDP, 9)
    datapath.tables.apply(Difference(put={own: serving(BACKENDS4[0])._replace(lent=True)}))
    with closing(MapWriter(datapath.pins.maps)) as again:
        assert own not in again.frontends
        assert again.serving(own) is None
        assert again.fill()[0].used == 0


@pytest.mark.parametrize("missing", ["more_peers", "networks", "node_addrs"])
def test_what_cannot_be_opened_as_a_whole_leaves_nothing_open(served: NodeDatapath, missing: str) -> None:
    """A table of several that is not pinned: those before it were open already."""
    maps = served.pins.maps
    (maps / missing).rename(maps / f"{missing}-away")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with pytest.raises(BpfError):
            (Records if missing == "more_peers" else MapWriter)(maps)
    (maps / f"{missing}-away").rename(maps / missing)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
