"""A datapath that is loaded once and serves many tests: the verifier reads eleven programs each time they are loaded.

    datapaths = LoadedOnce(folder, sandbox.cgroup, objects)
    with datapaths.attached("socklb.bpf.o") as node:
        node.tables.apply(…)

Each object file has a BPF file system of its own, and its hooks are on the cgroup only while a test has them: tests
that load a datapath themselves meet none of this. Afterwards every map is as the kernel made it, so a test may write
what it likes, also behind the agent's back and from another process, but must not grow, remove or reload it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.datapath import features, hooks, layout, libbpf
from socklb.datapath.maps import HashTable, RowTable, TrieTable, map_info
from socklb.datapath.node_datapath import NodeDatapath
from socklb.datapath.observing import beside
from socklb.datapath.writer import MapWriter

# enum bpf_map_type: HASH and LRU_HASH, ARRAY, LPM_TRIE. What is of a socket goes with the socket.
HASHES, ARRAYS, TRIES = (1, 9), (2,), (11,)


class LoadedOnce:
    """The datapath of each object file, loaded when a test asks for it; skips one where the kernel cannot."""

    def __init__(self, folder: Path, cgroup: Path, objects: Path) -> None:
        self._folder, self._cgroup, self._objects = folder, cgroup, objects
        self._loaded: dict[str, NodeDatapath] = {}
        self._opened = ExitStack()

    def close(self) -> None:
        self._opened.close()

    def best(self) -> str:
        """The object file that this kernel gets."""
        return features.object_for(features.missing())

    @contextlib.contextmanager
    def attached(self, object_file: str) -> Iterator[NodeDatapath]:
        """Attach it, with empty tables, while the block runs."""
        skip_without(*features.OBJECTS[object_file])
        node = self._load(object_file)
        this_node(node, node.netns)
        opened_with, node.tables = node.tables, MapWriter(node.pins.maps)
        node.attach()
        try:
            yield node
        finally:
            node.tables.close()
            node.tables = opened_with
            detach(node)
            empty(node)

    def _load(self, object_file: str) -> NodeDatapath:
        if object_file not in self._loaded:
            home = self._folder / object_file
            home.mkdir(exist_ok=True)
            instead_of_the_best(self._objects / object_file, home)
            with ExitStack() as opened:
                bpffs = opened.enter_context(mounted_bpffs(home / "bpffs"))
                self._loaded[object_file] = opened.enter_context(NodeDatapath(bpffs, self._cgroup, home))
                self._opened.push(opened.pop_all())
        return self._loaded[object_file]


def skip_without(*needed: features.Feature) -> None:
    """Skip the test where the kernel lacks one of these."""
    for feature in needed:
        if not feature.there():
            pytest.skip(str(feature))


def instead_of_the_best(object_file: Path, folder: Path) -> None:
    """Put an object, and the one that observes in its place, where an agent looks for those that this kernel gets."""
    best = folder / features.object_for(features.missing())
    shutil.copy(object_file, best)
    shutil.copy(beside(object_file), beside(best))


def this_node(node: NodeDatapath, netns: int) -> None:
    """Say which network namespace is the node's."""
    with closing(RowTable(node.pins.maps, "this_node", layout.NODE.size)) as table:
        table.publish(0, 0, netns)


def detach(node: NodeDatapath) -> None:
    hooks.detach(node.pins.links)
    for pin in node.pins.links.iterdir():
        pin.unlink()


def empty(node: NodeDatapath) -> None:
    """Make every map what it was when the kernel made it. No hook may run."""
    for pin in node.pins.maps.iterdir():
        descriptor = libbpf.get_pinned(pin)
        info = map_info(descriptor, pin.name)
        os.close(descriptor)
        if info.type in HASHES:
            with closing(HashTable(pin.parent, pin.name, info.key_size, info.value_size)) as table:
                table.delete(key for key, _ in table.items())
        if info.type in TRIES:
            with closing(TrieTable(pin.parent, pin.name, info.key_size, info.value_size)) as trie:
                for key in [key for key, _ in trie.items()]:
                    trie.delete(key)
        if info.type in ARRAYS:
            with closing(RowTable(pin.parent, pin.name, info.value_size)) as rows:
                rows.write(0, bytes(rows.capacity * rows.value_size))
