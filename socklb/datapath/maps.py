"""The two kinds of tables: hashes written in batches, and arrays of rows mapped into this process."""

from __future__ import annotations

import ctypes as ct
import errno
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from socklb.datapath import libbpf
from socklb.errors import SocklbError

BATCH = 4096  # elements per system call; larger batches are no faster


class MapInfo(ct.Structure):
    """The head of `struct bpf_map_info`."""

    _fields_ = (
        ("type", ct.c_uint32),
        ("id", ct.c_uint32),
        ("key_size", ct.c_uint32),
        ("value_size", ct.c_uint32),
        ("max_entries", ct.c_uint32),
        ("map_flags", ct.c_uint32),
        ("name", ct.c_char * 16),
    )


def map_info(fd: int, name: str) -> MapInfo:
    """Return the kernel's information on a map."""
    info = MapInfo()
    libbpf.object_info(fd, info, f"map {name}")
    return info


def is_pinned(pin: Path, fd: int) -> bool:
    """Return whether this map is the one that is pinned there."""
    pinned = libbpf.find_pinned(pin)
    if pinned is None:
        return False
    try:
        return bool(map_info(pinned, pin.name).id == map_info(fd, pin.name).id)
    finally:
        os.close(pinned)


def pinned_shape(pin: Path) -> libbpf.Shape:
    """Return the shape of a pinned map."""
    descriptor = libbpf.get_pinned(pin)
    try:
        info = map_info(descriptor, pin.name)
    finally:
        os.close(descriptor)
    return libbpf.Shape(info.type, info.key_size, info.value_size, info.max_entries, info.map_flags)


class PinnedMap:
    """A map opened by its pin."""

    def __init__(self, directory: Path, name: str, key_size: int, value_size: int) -> None:
        """Open `directory`/`name`.

        Raises:
            BpfError: nothing is pinned there (ENOENT), or it may not be opened.
            SocklbError: its keys or values have other sizes, for example those of another version of socklb.
        """
        self.name = name
        self.key_size, self.value_size = key_size, value_size
        self.fd = libbpf.get_pinned(directory / name)
        # Also of one that nobody closes, because a constructor above this one failed.
        self._closed = weakref.finalize(self, os.close, self.fd)
        info = map_info(self.fd, name)
        if (info.key_size, info.value_size) != (key_size, value_size):
            self.close()
            raise SocklbError(
                f"map {directory / name} has keys of {info.key_size} and values of {info.value_size} bytes; "
                f"this version reads {key_size} and {value_size}",
                hint="use the socklb that made it, or run 'socklb cleanup' with that one",
            )
        self.capacity = int(info.max_entries)

    def find(self, key: bytes) -> bytes | None:
        """Return the value of one element, in a trie that of the longest prefix; None if there is no such element."""
        value = ct.create_string_buffer(self.value_size)
        try:
            libbpf.call(f"read map {self.name}", "bpf_map_lookup_elem", self.fd, key, value)
        except libbpf.BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        return value.raw

    def close(self) -> None:
        """Close the descriptor; the pin keeps the map."""
        self._closed()


class HashTable(PinnedMap):
    """A hash, read and written in batches (kernel 5.6)."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all elements, read a batch at a time."""
        size = BATCH
        token_in, token_out = (ct.create_string_buffer(max(self.key_size, 4)) for _ in range(2))
        first = True
        while True:
            keys = ct.create_string_buffer(size * self.key_size)
            values = ct.create_string_buffer(size * self.value_size)
            count = libbpf.U32(size)
            try:
                libbpf.call(
                    f"read map {self.name}",
                    "bpf_map_lookup_batch",
                    self.fd,
                    None if first else token_in,
                    token_out,
                    keys,
                    values,
                    ct.byref(count),
                    None,
                )
                ended = False
            except libbpf.BpfError as error:
                if error.errno == errno.ENOSPC:  # one bucket holds more than the batch
                    size *= 2
                    continue
                if error.errno != errno.ENOENT:
                    raise
                ended = True  # the last batch has ENOENT and data
            yield from zip(
                _cut(keys.raw, self.key_size, count.value),
                _cut(values.raw, self.value_size, count.value),
                strict=True,
            )
            if ended:
                return
            ct.memmove(token_in, token_out, len(token_in))
            first = False

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> int:
        """Write elements, in order; return how many were written before the map was full."""
        done = 0
        while done < len(items):
            part = items[done : done + BATCH]
            count = libbpf.U32(len(part))
            keys, values = (b"".join(column) for column in zip(*part, strict=True))
            try:
                libbpf.call(
                    f"write map {self.name}",
                    "bpf_map_update_batch",
                    self.fd,
                    keys,
                    values,
                    ct.byref(count),
                    None,
                )
            except libbpf.BpfError as error:
                if error.errno != errno.E2BIG:
                    raise
                return done + count.value
            done += len(part)
        return done

    def delete(self, keys: Iterable[bytes]) -> None:
        """Delete elements; missing ones are skipped."""
        left = list(keys)
        while left:
            part = left[:BATCH]
            count = libbpf.U32(len(part))
            try:
                libbpf.call(
                    f"delete from map {self.name}",
                    "bpf_map_delete_batch",
                    self.fd,
                    b"".join(part),
                    ct.byref(count),
                    None,
                )
                left = left[len(part) :]
            except libbpf.BpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                left = left[count.value + 1 :]  # it stopped at the first missing key


class TrieTable(PinnedMap):
    """A trie of prefixes, one system call per element: it has batches only since Linux 5.13 (commit f56387c534cf)."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all elements; none may be deleted meanwhile."""
        key, value = ct.create_string_buffer(self.key_size), ct.create_string_buffer(self.value_size)
        before = None
        while self._there("bpf_map_get_next_key", before, key):
            if self._there("bpf_map_lookup_elem", key, value):
                yield key.raw, value.raw
            before = key

    def put(self, key: bytes, value: bytes) -> bool:
        """Write an element; return whether there was room."""
        try:
            libbpf.call(f"write map {self.name}", "bpf_map_update_elem", self.fd, key, value, 0)
        except libbpf.BpfError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        return True

    def delete(self, key: bytes) -> None:
        """Delete an element; a missing one is skipped."""
        self._there("bpf_map_delete_elem", key)

    def _there(self, function: str, *arguments: object) -> bool:
        try:
            libbpf.call(f"ask map {self.name}", function, self.fd, *arguments)
        except libbpf.BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True


class RowTable(PinnedMap):
    """An array of rows, mapped into memory (BPF_F_MMAPABLE, kernel 5.5).

    Rows are written in place: a reader in the kernel may see half a row, so only rows that no reader can find are
    written as a whole. `publish` is the only store that readers may observe.
    """

    def __init__(self, directory: Path, name: str, row_size: int) -> None:
        super().__init__(directory, name, 4, row_size)
        length = -(-row_size * self.capacity // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._words = memoryview(self._memory).cast("Q")

    def read(self, index: int, count: int = 1) -> bytes:
        """Return `count` rows, beginning with row `index`."""
        return self._memory[index * self.value_size : (index + count) * self.value_size]

    def write(self, index: int, rows: bytes) -> None:
        """Write whole rows, beginning with row `index`; they must not be published."""
        start = index * self.value_size
        self._memory[start : start + len(rows)] = rows

    def publish(self, index: int, offset: int, word: int) -> None:
        """Store an aligned 64-bit word in row `index`, atomically."""
        self._words[(index * self.value_size + offset) // 8] = word

    def word(self, index: int, offset: int) -> int:
        """Return an aligned 64-bit word of row `index`."""
        return self._words[(index * self.value_size + offset) // 8]

    def column(self, offset: int) -> list[int]:
        """Return the aligned 64-bit word at the same offset of every row."""
        step = self.value_size // 8
        return self._words[offset // 8 : self.capacity * step : step].tolist()

    def count_words(self) -> int:
        """Return how many rows begin with a word that is not zero."""
        return sum(1 for word in self.column(0) if word)

    def close(self) -> None:
        """Unmap and close; the pin keeps the map."""
        self._words.release()
        self._memory.close()
        super().close()


def _cut(raw: bytes, size: int, count: int) -> Iterator[bytes]:
    return (raw[i * size : (i + 1) * size] for i in range(count))
