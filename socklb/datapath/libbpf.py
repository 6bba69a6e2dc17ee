"""A thin binding to libbpf: open, load, pin and attach objects; read and write maps in batches.

    with Object.open(path) as obj:
        obj.pin_maps(Path("/sys/fs/bpf/socklb/v3/maps"), layout.MAPS)
        obj.load()
        fd = obj.program("connect4").fd

Nothing here knows what the programs do. Every failure is a `BpfError` with libbpf's own log, the kernel's reason first.
File descriptors live as long as the object that returned them, unless stated otherwise.

Works with libbpf.so.1, and with libbpf.so.0 from 0.5 on (Ubuntu 22.04), which `libbpf_set_strict_mode` makes report
errors as 1.0 does.
"""

from __future__ import annotations

import ctypes as ct
import errno
import os
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from socklb.datapath.capabilities import missing_capabilities
from socklb.errors import SocklbError
from socklb.libc import libc

STRICT_CLEAN_PTRS_AND_DIRECT_ERRS = 0x1 | 0x2
LOG_WARN = 1  # libbpf_print_level: users need levels 0 and 1
LOG_SIZE = 1 << 24  # the longest log of the verifier; pages beyond the log's end are not touched

ETHERNET_HEADER = bytes(14)

PrintFn = ct.CFUNCTYPE(ct.c_int, ct.c_int, ct.c_void_p, ct.c_void_p)

Pointer = ct.c_void_p
Handle = int  # a pointer returned by libbpf, as an integer
INT = ct.c_int
STR = ct.c_char_p
U32 = ct.c_uint32
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "bpf_object__open_file": (Pointer, [STR, Pointer]),
    "bpf_object__load": (INT, [Pointer]),
    "bpf_object__close": (None, [Pointer]),
    "bpf_object__find_map_by_name": (Pointer, [Pointer, STR]),
    "bpf_object__find_program_by_name": (Pointer, [Pointer, STR]),
    "bpf_map__set_pin_path": (INT, [Pointer, STR]),
    "bpf_map__set_max_entries": (INT, [Pointer, U32]),
    "bpf_map__set_initial_value": (INT, [Pointer, ct.c_char_p, ct.c_size_t]),
    "bpf_map__reuse_fd": (INT, [Pointer, INT]),
    "bpf_map__type": (U32, [Pointer]),
    "bpf_map__key_size": (U32, [Pointer]),
    "bpf_map__value_size": (U32, [Pointer]),
    "bpf_map__max_entries": (U32, [Pointer]),
    "bpf_map__map_flags": (U32, [Pointer]),
    "bpf_program__fd": (INT, [Pointer]),
    "bpf_program__get_expected_attach_type": (INT, [Pointer]),
    "bpf_map__fd": (INT, [Pointer]),
    "bpf_link_create": (INT, [INT, INT, INT, Pointer]),
    "bpf_link_detach": (INT, [INT]),
    "bpf_link_update": (INT, [INT, INT, Pointer]),
    "bpf_obj_get": (INT, [STR]),
    "bpf_obj_pin": (INT, [INT, STR]),
    "bpf_prog_get_fd_by_id": (INT, [U32]),
    "bpf_map_get_fd_by_id": (INT, [U32]),
    "bpf_obj_get_info_by_fd": (INT, [INT, Pointer, ct.POINTER(U32)]),
    "ring_buffer__new": (Pointer, [INT, Pointer, Pointer, Pointer]),
    "ring_buffer__epoll_fd": (INT, [Pointer]),
    "ring_buffer__consume": (INT, [Pointer]),
    "ring_buffer__free": (None, [Pointer]),
    "bpf_map_get_next_key": (INT, [INT, Pointer, Pointer]),
    "bpf_map_lookup_elem": (INT, [INT, Pointer, Pointer]),
    "bpf_map_update_elem": (INT, [INT, Pointer, Pointer, ct.c_uint64]),
    "bpf_map_delete_elem": (INT, [INT, Pointer]),
    "bpf_map_update_batch": (INT, [INT, Pointer, Pointer, ct.POINTER(U32), Pointer]),
    "bpf_map_delete_batch": (INT, [INT, Pointer, ct.POINTER(U32), Pointer]),
    "bpf_map_lookup_batch": (INT, [INT, Pointer, Pointer, Pointer, Pointer, ct.POINTER(U32), Pointer]),
    "bpf_prog_query": (INT, [INT, INT, U32, ct.POINTER(U32), Pointer, ct.POINTER(U32)]),
    "bpf_prog_test_run_opts": (INT, [INT, Pointer]),
    "bpf_tc_hook_create": (INT, [Pointer]),
    "bpf_tc_hook_destroy": (INT, [Pointer]),
    "bpf_tc_attach": (INT, [Pointer, Pointer]),
    "bpf_tc_detach": (INT, [Pointer, Pointer]),
    "bpf_tc_query": (INT, [Pointer, Pointer]),
    "libbpf_set_print": (Pointer, [PrintFn]),
    "libbpf_set_strict_mode": (INT, [INT]),
}


class BpfError(SocklbError):
    """A call into libbpf or the kernel failed.

    `errno` is the kernel's number; `log` is all that libbpf printed, including the verifier's log if a program was
    refused.
    """

    def __init__(self, action: str, error: int, log: str = "") -> None:
        self.errno = error
        self.log = log
        reason = reason_line(log)
        text = f"{action}: {os.strerror(error)}" + (f": {reason}" if reason else "")
        refused = error in (errno.EPERM, errno.EACCES)
        super().__init__(text, hint=missing_capabilities(memory_limit="RLIMIT_MEMLOCK" in log) if refused else "")


def reason_line(log: str) -> str:
    """Return the line of a libbpf log that gives the reason: the verifier's last line, or else libbpf's first line.

    libbpf's advice on "ulimit -l" is left out: from kernel 5.11 on it is never the reason (commit 5b029a32cfe4).
    """
    lines = [line.strip() for line in log.splitlines() if line.strip() and "ulimit -l" not in line]
    for i, line in enumerate(lines):
        if line.startswith("processed ") and " insns" in line and i > 0:
            return lines[i - 1]
    told = [line.removeprefix("libbpf: ") for line in lines if line.startswith("libbpf: ")]
    return told[0] if told else ""


class _Log(threading.local):
    """What libbpf printed during the call of this thread: scrapes query the kernel at the same time as the agent."""

    def __init__(self) -> None:
        self.lines: list[str] = []


_log = _Log()


@PrintFn
def _print(level: int, format_: int, arguments: int) -> int:
    if level <= LOG_WARN:
        buffer = ct.create_string_buffer(LOG_SIZE)
        libc.vsnprintf(buffer, ct.c_size_t(LOG_SIZE), ct.c_void_p(format_), ct.c_void_p(arguments))
        _log.lines.append(buffer.value.decode(errors="replace"))
    return 0


@cache
def library() -> ct.CDLL:
    """Load libbpf once.

    Raises:
        SocklbError: it is not installed.
    """
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ct.CDLL(name, use_errno=True)
        except OSError:
            continue
        for symbol, (restype, argtypes) in SIGNATURES.items():
            function = getattr(lib, symbol)
            function.restype, function.argtypes = restype, argtypes
        lib.libbpf_set_strict_mode(STRICT_CLEAN_PTRS_AND_DIRECT_ERRS)
        lib.libbpf_set_print(_print)
        return lib
    raise SocklbError("libbpf is not installed", hint="apt-get install libbpf1 (Ubuntu 22.04: libbpf0)")


def call(action: str, function: str, *arguments: Any) -> Any:
    """Call a libbpf function and return its result.

    Raises:
        BpfError: the result is negative or a null pointer; `action` says what was attempted.
    """
    _log.lines.clear()
    ct.set_errno(0)
    result = getattr(library(), function)(*arguments)
    if result is None or result < 0:
        raise BpfError(action, ct.get_errno() or -(result or 0) or errno.EINVAL, "".join(_log.lines))
    return result


class Shape(NamedTuple):
    """What must be equal for a map to be taken over: type, sizes in bytes, entries, flags."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int


class Program:
    """A program of a loaded object."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def fd(self) -> int:
        """Return the program's descriptor; the object closes it."""
        return int(library().bpf_program__fd(self._handle))

    @property
    def attach_type(self) -> int:
        """Return the `enum bpf_attach_type` that the program was loaded for."""
        return int(library().bpf_program__get_expected_attach_type(self._handle))

    @property
    def id(self) -> int:
        """Return the program's id in the kernel."""
        return int(program_info(self.fd).id)

    def attach_cgroup(self, cgroup_fd: int, name: str) -> int:
        """Attach to a cgroup by a link (flag "multi": programs of others continue to run); return the link.

        The caller closes the descriptor; the program stays attached as long as the descriptor or a pin exists.
        """
        return int(call(f"attach {name}", "bpf_link_create", self.fd, cgroup_fd, self.attach_type, None))


class Object:
    """An eBPF object file, opened and then loaded."""

    def __init__(self, handle: Handle, path: Path) -> None:
        self._handle = handle
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Object:
        """Read an object file; nothing reaches the kernel yet."""
        return cls(call(f"open {path}", "bpf_object__open_file", os.fsencode(path), None), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the object; what is pinned stays."""
        library().bpf_object__close(self._handle)

    def pin_maps(self, directory: Path, names: Iterable[str]) -> None:
        """Have those of the named maps that the object has pinned in `directory` at load.

        A map that is pinned there already is taken over; libbpf compares type, key, value, size and flags, and a
        difference makes the load fail.
        """
        for name in names:
            handle = library().bpf_object__find_map_by_name(self._handle, name.encode())
            if handle:
                pin = directory / name
                call(f"pin path {pin}", "bpf_map__set_pin_path", handle, os.fsencode(pin))

    def share_maps(self, descriptors: Mapping[str, int]) -> None:
        """Use these descriptors of another object's maps for those of the named maps that the object has."""
        for name, descriptor in descriptors.items():
            handle = library().bpf_object__find_map_by_name(self._handle, name.encode())
            if handle:
                call(f"share map {name}", "bpf_map__reuse_fd", handle, descriptor)

    def resize_maps(self, entries: Mapping[str, int]) -> None:
        """Set the capacity of the named maps before the load."""
        for name, count in entries.items():
            handle = call(f"find map {name}", "bpf_object__find_map_by_name", self._handle, name.encode())
            call(f"resize map {name}", "bpf_map__set_max_entries", handle, count)

    def set_constants(self, values: bytes) -> None:
        """Set the constants of the object (its section .rodata) before the load."""
        prefix = self.path.name.removesuffix(".o")[:8].replace("-", "_")  # libbpf before 0.6 names the map so
        for name in (".rodata", f"{prefix}.rodata"):
            handle = library().bpf_object__find_map_by_name(self._handle, name.encode())
            if handle:
                call(f"set {name}", "bpf_map__set_initial_value", handle, values, len(values))
                return

    def shape(self, name: str) -> Shape | None:
        """Return the shape that a map will have; None if the object has no such map."""
        handle = library().bpf_object__find_map_by_name(self._handle, name.encode())
        if not handle:
            return None
        parts = ("type", "key_size", "value_size", "max_entries", "map_flags")
        return Shape(*(int(getattr(library(), f"bpf_map__{part}")(handle)) for part in parts))

    def load(self) -> None:
        """Create the maps and load the programs, which the kernel verifies."""
        call(f"load {self.path}", "bpf_object__load", self._handle)

    def maps(self, names: Iterable[str]) -> dict[str, int]:
        """Return the descriptors of those of the named maps that the object has; the object closes them."""
        handles = {name: library().bpf_object__find_map_by_name(self._handle, name.encode()) for name in names}
        return {name: int(library().bpf_map__fd(handle)) for name, handle in handles.items() if handle}

    def program(self, name: str) -> Program:
        """Return a program by its function's name."""
        return Program(call(f"find program {name}", "bpf_object__find_program_by_name", self._handle, name.encode()))


def get_pinned(pin: Path) -> int:
    """Open a pinned map, program or link; the caller closes the descriptor.

    Raises:
        BpfError: with ENOENT if nothing is pinned there.
    """
    return int(call(f"open {pin}", "bpf_obj_get", os.fsencode(pin)))


def pin(fd: int, path: Path) -> None:
    """Pin a map, program or link."""
    call(f"pin {path}", "bpf_obj_pin", fd, os.fsencode(path))


def find_pinned(pin: Path) -> int | None:
    """Open a pin as `get_pinned` does; None if nothing is pinned there, or if a folder is there instead."""
    try:
        return get_pinned(pin)
    except BpfError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise
        return None


def update_link(link_fd: int, program_fd: int, name: str) -> None:
    """Replace a link's program atomically. The kernel does not compare attach types: the caller must."""
    call(f"update link {name}", "bpf_link_update", link_fd, program_fd, None)


def object_info(fd: int, info: ct.Structure, what: str) -> None:
    """Fill `info` with the kernel's information on a map, program or link (BPF_OBJ_GET_INFO_BY_FD)."""
    size = U32(ct.sizeof(info))
    call(f"read the info of {what}", "bpf_obj_get_info_by_fd", fd, ct.byref(info), ct.byref(size))


class ProgramInfo(ct.Structure):
    """The head of `struct bpf_prog_info`."""

    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("tag", ct.c_uint8 * 8),
        ("lengths", ct.c_uint32 * 2),
        ("instructions", ct.c_uint64 * 2),
        ("load_time", ct.c_uint64),
        ("created_by_uid", ct.c_uint32),
        ("nr_map_ids", ct.c_uint32),
        ("map_ids", ct.c_uint64),
        ("name", ct.c_char * 16),
    )


def program_info(fd: int) -> ProgramInfo:
    """Return the kernel's information on a program."""
    info = ProgramInfo()
    object_info(fd, info, "a program")
    return info


def maps_of_program(fd: int) -> list[int]:
    """Return the ids of the maps that a program uses."""
    count = int(program_info(fd).nr_map_ids)
    numbers = (U32 * count)()
    info = ProgramInfo(nr_map_ids=count, map_ids=ct.addressof(numbers))
    object_info(fd, info, "a program's maps")
    return list(numbers)


def program_name(number: int) -> str:
    """Return the name, at most 15 characters, of the program with an id."""
    descriptor = int(call(f"open program {number}", "bpf_prog_get_fd_by_id", number))
    try:
        return bytes(program_info(descriptor).name).decode()
    finally:
        os.close(descriptor)


class TestRun(ct.Structure):
    """`struct bpf_test_run_opts` of libbpf."""

    _fields_ = (
        ("size", ct.c_size_t),
        ("data_in", ct.c_char_p),
        ("data_out", ct.c_void_p),
        ("data_size_in", ct.c_uint32),
        ("data_size_out", ct.c_uint32),
        ("ctx_in", ct.c_void_p),
        ("ctx_out", ct.c_void_p),
        ("ctx_size_in", ct.c_uint32),
        ("ctx_size_out", ct.c_uint32),
        ("retval", ct.c_uint32),
        ("repeat", ct.c_int),
        ("duration", ct.c_uint32),
        ("flags", ct.c_uint32),
        ("cpu", ct.c_uint32),
    )


def run(name: str, fd: int, about: bytes) -> int:
    """Run a program of ours that is attached nowhere, on a packet with `about` after its Ethernet header; return its
    result.
    """
    packet = (ETHERNET_HEADER + about).ljust(64, b"\0")
    test = TestRun(size=ct.sizeof(TestRun), data_in=packet, data_size_in=len(packet), repeat=1)
    call(f"run program {name}", "bpf_prog_test_run_opts", fd, ct.byref(test))
    return int(test.retval)


def attached_programs(cgroup_fd: int, attach_type: int, *, effective: bool) -> list[int]:
    """Return the ids of the programs at a cgroup's hook: its own, or all that are effective there."""
    return query_programs(cgroup_fd, attach_type, effective=effective)[0]


def query_programs(cgroup_fd: int, attach_type: int, *, effective: bool = False) -> tuple[list[int], int]:
    """Return the ids of the programs at a cgroup's hook, and the flags BPF_F_* of its own ones (BPF_PROG_QUERY).

    The flags are 0 if effective programs are requested.
    """
    ids, count, flags = (U32 * 64)(), U32(64), U32(0)
    call(
        f"query attach type {attach_type}",
        "bpf_prog_query",
        cgroup_fd,
        attach_type,
        1 if effective else 0,
        ct.byref(flags),
        ids,
        ct.byref(count),
    )
    return list(ids[: count.value]), int(flags.value)
