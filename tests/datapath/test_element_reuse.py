"""The kernel gives a deleted hash element to another key at once, while a reader may still hold it.

A reader must not act on another Service's value then. It is excluded so: an element holds nothing but the number of a
row, the row says which key it belongs to, and rows are not given to another key while a reader may hold them.

Here two Services take each other's place in the hash as fast as the agent can write, under clients that ask for one of
them, and the programs wait between lookup and read as if they had been preempted there. The control are the same
programs without the comparison: they do hand out the other Service's backends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rig.sandbox import BACKENDS4, Sandbox
from socklb.datapath import layout
from socklb.datapath.maps import HashTable
from socklb.datapath.node_datapath import NodeDatapath
from socklb.model import Difference
from tests.datapath.services import frontend, serving

BPF = Path(__file__).parents[2] / "bpf"
READ = "found.row = *(volatile __u32 *)row;"
WAIT = f"for (int n = 0; n < 4000; n++)\n{READ}\n"
COMPARE = "if (frontend && same_key(&frontend->key, key)) {"
MINE, THEIRS = "10.96.3.1", "10.96.3.2"
SECONDS = 5.0
CLIENTS = 2
ROUNDS = 10  # of the control at most: how often a reader is hit depends on what else the machine does


@pytest.fixture
def preempted(tmp_path: Path) -> Callable[..., Path]:
    """Compile the programs so that they wait between lookup and read, with or without the comparison."""

    def make(*, compare: bool) -> Path:
        source = shutil.copytree(BPF, tmp_path / f"bpf-{compare}")
        text = (source / "sets.h").read_text()
        assert text.count(READ) == text.count(COMPARE) == 1
        text = text.replace(READ, WAIT)
        (source / "sets.h").write_text(text if compare else text.replace(COMPARE, "if (frontend) {"))
        made = tmp_path / f"objects-{compare}"
        made.mkdir()
        subprocess.run(["make", "-s", "-C", source, f"OUT={made}", f"{made}/socklb.bpf.o"], check=True)
        return made

    return make


def ask_until(end: float) -> Counter[str]:
    """Ask with a fresh UDP socket again and again; give who answered."""
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            try:
                client.connect((MINE, 80))
            except OSError as error:
                found[os.strerror(error.errno or 0)] += 1
                continue
            client.send(b"?")
            found[client.recv(100).decode()] += 1
    return found


def exchange_until(end: float, maps: Path) -> int:
    """Have the two Services take each other's place in the hash, each with its own row; give how often."""
    keys = [layout.pack_frontend(frontend(service, socket.IPPROTO_UDP)) for service in (MINE, THEIRS)]
    times = 0
    with closing(HashTable(maps, "frontends", layout.FRONTEND_KEY.size, layout.ROW_INDEX.size)) as table:
        rows = dict(table.items())
        while time.monotonic() < end:
            for now, before in (keys, reversed(keys)):
                table.delete([before])
                table.put([(now, rows[now])])
                times += 1
    return times


def seen(sandbox: Sandbox, bpffs: Path, objects: Path) -> Counter[str]:
    with NodeDatapath(bpffs, sandbox.cgroup, objects) as node:
        try:
            node.attach()
            put = {MINE: BACKENDS4[:2], THEIRS: BACKENDS4[2:]}
            udp = {frontend(at, socket.IPPROTO_UDP): serving(*addresses) for at, addresses in put.items()}
            node.tables.apply(Difference(put=udp))
            end = time.monotonic() + SECONDS
            clients = [sandbox.start(lambda: ask_until(end)) for _ in range(CLIENTS)]
            assert exchange_until(end, node.pins.maps) > 1000
            found: Counter[str] = Counter()
            for job in clients:
                found += job.result()  # type: ignore[arg-type]
            return found
        finally:
            node.pins.remove()


def test_a_client_never_gets_another_services_backend(
    sandbox: Sandbox, bpffs: Path, preempted: Callable[..., Path]
) -> None:
    found = seen(sandbox, bpffs, preempted(compare=True))
    assert found.keys() <= {*BACKENDS4[:2], "Network is unreachable"}  # not served at that moment
    assert found[BACKENDS4[0]] > 100
    objects = preempted(compare=False)
    rounds = (seen(sandbox, bpffs, objects) for _ in range(ROUNDS))
    assert any(not without.keys().isdisjoint(BACKENDS4[2:]) for without in rounds), "nothing was re-filled in use"
