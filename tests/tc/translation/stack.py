"""How much stack the programs of an object take at most, as the verifier of kernels before 6.8 adds it up.

    deepest(object_file)["uplink_in"]       # Deepest(480, ["uplink_in", "begin_service", …])

Each function on the way counts in steps of 32 bytes, and 512 bytes are allowed in all; later kernels count in steps of
16 where they compile programs to machine code. So a kernel of today may take what one of before refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

STEP, MOST_BYTES, MOST_CALLS = 32, 512, 8
SECTION, SYMBOL, RELOCATION = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<QQ")
SYMBOLS, RELOCATIONS = 2, 9  # section types
FUNCTION = 2  # symbol types
INSTRUCTION = struct.Struct("<BBhi")
LOAD_NUMBER, CALL, COPY, ADD = 0x18, 0x85, 0xBF, 0x07  # the first takes the room of two
LOAD, STORE_NUMBER, STORE = 1, 2, 3  # classes
LOCAL = 1  # who calls a function of the object, no helper of the kernel
FRAME = 10  # the register that points to the function's own stack
Place = tuple[int, int]  # a section and an offset in it


class Deepest(NamedTuple):
    """The way of calls that takes most."""

    bytes: int
    way: list[str]


class Function(NamedTuple):
    """What it takes by itself, and whom it calls."""

    bytes: int
    calls: set[str]


def deepest(object_file: Path) -> dict[str, Deepest]:
    """Return it for each program, which is what no other function calls."""
    functions = Elf(object_file.read_bytes()).functions()
    called = {name for function in functions.values() for name in function.calls}
    return {name: _deepest(functions, name) for name in functions.keys() - called}


def _deepest(functions: Mapping[str, Function], name: str) -> Deepest:
    below = [_deepest(functions, called) for called in functions[name].calls]
    most = max(below, key=lambda way: way.bytes, default=Deepest(0, []))
    return Deepest(-(-max(functions[name].bytes, 1) // STEP) * STEP + most.bytes, [name, *most.way])


class Elf:
    """An object file, as far as it tells of functions."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        (at,), (count,) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<H", data, 60)
        self._sections = [SECTION.unpack_from(data, at + number * SECTION.size) for number in range(count)]
        table = next(section for section in self._sections if section[1] == SYMBOLS)
        self._names = self._sections[table[6]]
        self._symbols = list(SYMBOL.iter_unpack(self._content(table)))
        self._called = {
            (section[7], offset): information >> 32
            for section in self._sections
            if section[1] == RELOCATIONS
            for offset, information in RELOCATION.iter_unpack(self._content(section))
        }

    def functions(self) -> dict[str, Function]:
        """Return all functions by their names."""
        found = {(s[3], s[4]): (self._name(s[0]), s[5]) for s in self._symbols if s[1] & 15 == FUNCTION}
        return {name: self._function(place, size, found) for place, (name, size) in found.items()}

    def _function(self, place: Place, size: int, functions: Mapping[Place, tuple[str, int]]) -> Function:
        section, at = place
        taken, calls = 0, set[str]()
        into_frame = set[int]()  # registers that were just set to the frame pointer
        for here, (code, registers, offset, number) in self._instructions(section, at, at + size):
            to, by = registers & 15, registers >> 4
            if (by if code & 7 == LOAD else to) == FRAME and code & 7 in (LOAD, STORE_NUMBER, STORE):
                taken = max(taken, -offset)
            if code == ADD and to in into_frame:
                taken = max(taken, -number)
            into_frame = into_frame - {to} | ({to} if code == COPY and by == FRAME else set())
            if code == CALL and by == LOCAL:
                calls.add(functions[self._target(section, here, number)][0])
        return Function(taken, calls)

    def _instructions(self, section: int, at: int, end: int) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
        content = self._content(self._sections[section])
        while at < end:
            instruction = INSTRUCTION.unpack_from(content, at)
            yield at, instruction
            at += INSTRUCTION.size * (2 if instruction[0] == LOAD_NUMBER else 1)

    def _target(self, section: int, here: int, number: int) -> Place:
        """Return where a call leads: by a symbol of a function or of a section, or in the same section."""
        symbol = self._called.get((section, here))
        if symbol is None:
            return section, here + (number + 1) * INSTRUCTION.size
        _, information, _, place, value, _ = self._symbols[symbol]
        return place, value if information & 15 == FUNCTION else (number + 1) * INSTRUCTION.size

    def _content(self, section: tuple[int, ...]) -> bytes:
        return self._data[section[4] : section[4] + section[5]]

    def _name(self, at: int) -> str:
        names = self._content(self._names)
        return names[at : names.index(b"\0", at)].decode()
