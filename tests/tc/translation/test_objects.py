"""The packet path's objects: structs as in `socklb/tc/layout.py`, and no far way for the kernel's verifier."""

from __future__ import annotations

import ctypes as ct
import re
import struct
from pathlib import Path

import pytest

from rig.sandbox import mounted_bpffs
from socklb.datapath import libbpf
from socklb.datapath.layout import SERVICE_MAPS
from socklb.errors import SocklbError
from socklb.tc import layout
from socklb.tc.programs import L3_FILES, NAMES, OBJECT_FILES, Programs
from tests.datapath.test_layout import offsets_of, struct_layout
from tests.datapath.test_verifier import ProgramInfo
from tests.tc.translation.stack import MOST_CALLS, deepest

MOST = 60_000  # instructions of one program; some 1 µs each
MOST_STACK = 448  # of 512
ENDS = {f"ends+{16 * end}": 0 for end in range(4)}
# the fields of each Python struct, and how far into its field the low byte of a value stands (big-endian: at the end)
STRUCTS = [
    (
        "tuple",
        layout.TUPLE,
        {"source": 0, "destination": 0, "source_port": 1, "destination_port": 1, "protocol": 0, "place": 0},
    ),
    (
        "flow",
        layout.FLOW,
        dict.fromkeys(("state", *ENDS, "at", "ports", "seen", "begun", "row", "device"), 0)
        | dict.fromkeys(("protocol", "kinds", "flags", "sides", "sides+1"), 0),
    ),
    ("uplink", layout.UPLINK, {"ipv4": 0, "ipv6": 0}),
    ("packet_facts", layout.PACKET_FACTS, {"flow_mask": 0, "host_routing": 0}),
]


@pytest.mark.parametrize(("name", "packed", "fields"), STRUCTS, ids=[name for name, _, _ in STRUCTS])
def test_size_and_offsets_are_those_of_the_object(
    objects: Path, name: str, packed: struct.Struct, fields: dict[str, int]
) -> None:
    size, members = struct_layout(objects / OBJECT_FILES[0], name)
    assert packed.size == size
    places = [field.partition("+") for field in fields]
    expected = [
        members[name] + int(more or 0) + low for (name, _, more), low in zip(places, fields.values(), strict=True)
    ]
    assert offsets_of(packed, len(fields)) == expected


def test_every_map_of_the_object_is_known(objects: Path) -> None:
    bpf = Path(__file__).parents[3] / "bpf"
    sources = [(bpf / name).read_text() for name in ("service_maps.h", "packet_maps.h", "work.h")]
    found = {name for source in sources for name in re.findall(r"^} (\w+) SEC\(\".maps\"\)", source, re.MULTILINE)}
    assert found == {*SERVICE_MAPS, *layout.MAPS, layout.KNOWN_WAYS}


@pytest.mark.parametrize(
    ("file", "host_routing"),
    [*((file, routed) for file in OBJECT_FILES for routed in (False, True)), *((file, False) for file in L3_FILES)],
)
def test_the_verifier_takes_every_object_and_walks_no_far_way(
    objects: Path, tmp_path: Path, file: str, *, host_routing: bool
) -> None:
    only = tmp_path / "objects"
    only.mkdir()
    for name in (*OBJECT_FILES, *L3_FILES):  # which of them is loaded depends on the kernel
        (only / name).write_bytes((objects / file).read_bytes())
    with (
        mounted_bpffs(tmp_path / "bpffs") as bpffs,
        Programs.load(only, bpffs, bpffs, 64, host_routing=host_routing, l3=file in L3_FILES) as programs,
    ):
        walked = {name: _verified_instructions(programs.fd(name)) for name in programs.by_name}
    assert min(walked.values()) > 0
    assert {name: count for name, count in walked.items() if count > MOST} == {}


def test_what_the_verifier_refuses_is_told_and_no_other_object_taken(objects: Path, tmp_path: Path) -> None:
    """Not even one that it would take: on a kernel that has what the first needs, a refusal is a fault."""
    only = tmp_path / "objects"
    only.mkdir()
    first, second = ((objects / name).read_bytes() for name in OBJECT_FILES)
    (only / OBJECT_FILES[0]).write_bytes(first.replace(b"GPL\0", b"BSD\0"))  # may not call the helpers that it calls
    (only / OBJECT_FILES[1]).write_bytes(second)
    with mounted_bpffs(tmp_path / "bpffs") as bpffs, pytest.raises(libbpf.BpfError, match="GPL"):
        Programs.load(only, bpffs, bpffs, 64)


def test_no_way_of_calls_takes_nearly_all_of_the_stack(objects: Path) -> None:
    """The compilers of other distributions take somewhat more, and older kernels refuse what is too much."""
    found = {(file.name, name): way for file in objects.glob("*.bpf.o") for name, way in deepest(file).items()}
    assert {("packets-l3-5.10.bpf.o", "uplink_out_l3"), ("socklb-observed.bpf.o", "connect6")} <= found.keys()
    assert {key: way for key, way in found.items() if way.bytes > MOST_STACK or len(way.way) > MOST_CALLS} == {}


def _verified_instructions(program: int) -> int:
    info = ProgramInfo()
    libbpf.object_info(program, info, "a program")
    return int(ct.c_uint32(info.verified_insns).value)


def test_without_host_routing_nothing_of_it_is_loaded(objects: Path, tmp_path: Path) -> None:
    """No instruction calls what hands a packet into a pod, and the table of known ways has no room."""
    calls: dict[bool, set[int]] = {}
    ways: dict[bool, int] = {}
    for host_routing in (False, True):
        with (
            mounted_bpffs(tmp_path / str(host_routing)) as bpffs,
            Programs.load(objects, bpffs, bpffs, 64, host_routing=host_routing) as programs,
        ):
            calls[host_routing] = set().union(*(_called(programs.fd(name)) for name in NAMES))
            ways[host_routing] = _room(programs, layout.KNOWN_WAYS)
    assert len(calls[True] - calls[False]) == 1
    assert calls[False] - calls[True] == set()
    assert ways == {False: 1, True: layout.MAX_KNOWN_WAYS}


class Instructions(ct.Structure):
    """`struct bpf_prog_info` as far as the instructions that the verifier left."""

    _fields_ = (
        ("before", ct.c_uint32 * 5),
        ("length", ct.c_uint32),
        ("jited", ct.c_uint64),
        ("at", ct.c_uint64),
        ("rest", ct.c_uint8 * 184),
    )


def _called(program: int) -> set[int]:
    """The helpers of the kernel that a program calls, by where they are."""
    room = ct.create_string_buffer(1 << 18)
    info = Instructions(length=len(room), at=ct.addressof(room))
    libbpf.object_info(program, info, "a program")
    found = struct.iter_unpack("=BBhi", room.raw[: info.length])
    return {where for code, registers, _, where in found if code == 0x85 and not registers >> 4}


def _room(programs: Programs, name: str) -> int:
    shape = programs._object.shape(name)
    assert shape
    return shape.max_entries


def test_no_table_is_made_anew_beside_others_of_the_hooks(objects: Path, tmp_path: Path) -> None:
    """For as long as one has lost its pin: rows of those that are there would mean something else."""
    with mounted_bpffs(tmp_path / "bpffs") as bpffs, Programs.load(objects, bpffs, bpffs, 64):
        (bpffs / "frontends").unlink()
        with pytest.raises(SocklbError, match="not pinned: table frontends"):
            Programs.load(objects, bpffs, bpffs, 64)
        assert not (bpffs / "frontends").exists()
