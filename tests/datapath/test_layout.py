"""`bpf/types.h` and `socklb/datapath/layout.py` say the same: compared with the compiled object's own BTF."""

from __future__ import annotations

import ctypes as ct
import re
import struct
from pathlib import Path

import pytest

from socklb.datapath import layout, libbpf
from socklb.datapath.decisions import DECISION, HOOKS, REASONS, TEXTS, VERDICTS
from socklb.datapath.kernel import Kernel
from socklb.datapath.node_datapath import NodeDatapath
from tests.datapath.meddling import compile_object

BTF_KIND_STRUCT = 4
BPF = Path(__file__).parents[2] / "bpf"


class BtfType(ct.Structure):
    _fields_ = (("name_off", ct.c_uint32), ("info", ct.c_uint32), ("size", ct.c_uint32))


class BtfMember(ct.Structure):
    _fields_ = (("name_off", ct.c_uint32), ("type", ct.c_uint32), ("bit_offset", ct.c_uint32))


def struct_layout(object_file: Path, name: str) -> tuple[int, dict[str, int]]:
    """Return a struct's size and its members' offsets in bytes."""
    lib = libbpf.library()
    lib.btf__parse.restype = lib.btf__type_by_id.restype = ct.c_void_p
    lib.btf__name_by_offset.restype = ct.c_char_p
    btf = ct.c_void_p(lib.btf__parse(str(object_file).encode(), None))
    number = lib.btf__find_by_name_kind(btf, name.encode(), BTF_KIND_STRUCT)
    assert number > 0, f"{object_file} has no struct {name}"
    address = lib.btf__type_by_id(btf, number)
    found = BtfType.from_address(address)
    members = (BtfMember * (found.info & 0xFFFF)).from_address(address + ct.sizeof(BtfType))
    offsets = {lib.btf__name_by_offset(btf, m.name_off).decode(): m.bit_offset // 8 for m in members}
    lib.btf__free(btf)
    return found.size, offsets


def offsets_of(packed: struct.Struct, count: int) -> list[int]:
    """Return the offsets of a `struct.Struct`'s fields: set one at a time and see which bytes change."""
    sizes = [len(value) if isinstance(value, bytes) else None for value in packed.unpack(bytes(packed.size))]
    empty: list[int | bytes] = [0 if size is None else bytes(size) for size in sizes]
    assert len(empty) == count
    offsets = []
    for i, size in enumerate(sizes):
        values = list(empty)
        values[i] = 0xFF if size is None else b"\xff" * size
        raw = packed.pack(*values)
        changed = [n for n, byte in enumerate(raw) if byte]
        offsets.append(changed[0])
    return offsets


# the fields of each Python struct, and how far into its field the low byte of a value stands (big-endian: at the end)
STRUCTS = [
    ("frontend_key", layout.FRONTEND_KEY, {"address": 0, "port": 1, "protocol": 0, "scope": 0}),
    ("frontend", layout.FRONTEND_ROW, {"key": 0, "set": 0, "options": 0}),
    ("backend", layout.BACKEND_ROW, {"address": 0, "port": 1}),
    ("source_range", layout.SOURCE_RANGE, {"prefixlen": 0, "row": 0, "address": 0}),
    ("network", layout.NETWORK, {"prefixlen": 0, "address": 0}),
    ("node", layout.NODE, {"netns": 0}),
    ("kernel_facts", layout.KERNEL_FACTS, dict.fromkeys(Kernel._fields, 0)),
    ("bookkeeping", layout.BOOKKEEPING, {"spilled": 0, "lost": 0}),
    ("peer", layout.PEER, {"frontend": 0, "backend": 0, "frontend_port": 1, "backend_port": 1, "note": 3}),
    ("socket_slot", layout.SOCKET_SLOT, {"cookie": 0, "peer": 0}),
    ("client", layout.CLIENT, {"netns": 0, "row": 0}),
    ("affine", layout.AFFINE, {"client": 0, "seen": 0, "address": 0, "port": 0}),
    ("more_peers", layout.MORE_PEERS, {"next": 0, "front": 0, "behind": 0}),
]


@pytest.mark.parametrize(("name", "packed", "fields"), STRUCTS, ids=[name for name, _, _ in STRUCTS])
def test_size_and_offsets_are_those_of_the_object(
    objects: Path, name: str, packed: struct.Struct, fields: dict[str, int]
) -> None:
    size, members = struct_layout(objects / "socklb.bpf.o", name)
    assert packed.size == size
    expected = [members[field] + low for field, low in fields.items()]
    assert offsets_of(packed, len(fields)) == expected


def test_every_other_member_is_padding(objects: Path) -> None:
    for name, _, fields in STRUCTS:
        _, members = struct_layout(objects / "socklb.bpf.o", name)
        assert set(members) - set(fields) <= {"pad", "load"}


def test_the_words_that_change_are_where_the_object_has_them(objects: Path) -> None:
    _, members = struct_layout(objects / "socklb.bpf.o", "frontend")
    assert (members["set"], members["options"]) == (layout.SET_OFFSET, layout.OPTIONS_OFFSET)


def test_the_number_of_a_backends_load_is_where_the_object_has_it(objects: Path) -> None:
    assert struct_layout(objects / "socklb.bpf.o", "backend")[1]["load"] == layout.LOAD_OFFSET


def test_a_decision_is_as_the_source_has_it(tmp_path: Path) -> None:
    """No table has it, so it is in no object's BTF."""
    source = f'#include "{BPF}/decision.h"\nstruct decision any;\n'
    fields = dict.fromkeys(("time", "cookie", "netns", "cgroup", "asked", "given", "asked_port", "given_port"), 0)
    fields |= dict.fromkeys(("pid", "protocol", "hook", "verdict", "reason", "command"), 0)
    size, members = struct_layout(compile_object(tmp_path, source), "decision")
    assert DECISION.size == size
    assert offsets_of(DECISION, len(fields)) == [members[field] for field in fields]
    assert set(members) - set(fields) == {"pad"}


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        ("verdict", ["PASS", "TRANSLATED", "REFUSED"]),
        ("hook", [name.upper() for name in HOOKS]),
        ("reason", list(REASONS)),
    ],
)
def test_what_a_decision_says_by_number_is_as_the_source_has_it(enum: str, names: list[str]) -> None:
    source = re.sub(r"/\*.*?\*/", "", (BPF / "decision.h").read_text(), flags=re.DOTALL)
    found = re.search(rf"enum {enum} {{(.*?)}}", source, re.DOTALL)
    assert found is not None
    assert re.findall(r"\w+", found[1]) == names
    assert len(names) == len({"verdict": VERDICTS, "hook": HOOKS, "reason": TEXTS}[enum])


def test_every_map_of_the_object_is_pinned(datapath: NodeDatapath) -> None:
    assert {pin.name for pin in datapath.pins.maps.iterdir()} == set(layout.MAPS)
    source = (BPF / "service_maps.h").read_text() + (BPF / "socket_maps.h").read_text()
    assert set(re.findall(r"^} (\w+) SEC\(\".maps\"\)", source, re.MULTILINE)) == set(layout.MAPS)
