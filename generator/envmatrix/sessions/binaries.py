"""The machine that a program, library, object or archive of objects is for, by its headers, and the
libraries that it is loaded with. Pure: what is read was written by strangers, so every length is
checked and every loop has a limit."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO

from envmatrix.facts.targets import MACHINES
from envmatrix.records import dataclass

# Byte order and e_machine of the ELF header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_MACHINES = {entry.elf: entry.uname for entry in MACHINES.values()}
# Code for GPUs is in ELF files as well, with a machine of its own. It runs beside any processor.
_CUDA = 190
# Machine of the COFF header: https://learn.microsoft.com/windows/win32/debug/pe-format
_COFF_MACHINES = {entry.coff: f"{entry.uname}-windows" for entry in MACHINES.values()}
_COFF_HEADER = struct.Struct("<H14xH2x")

_ARCHIVE, _THIN = b"!<arch>\n", b"!<thin>\n"
_MEMBER_HEADER = 60
# Names of members that are tables of the archive itself.
_TABLES = (b"/", b"//", b"/SYM64/", b"__.SYMDEF", b"__.SYMDEF SORTED")
# Of 64 bits and little endian, chapters 4 and 5 of the same: where the table of segments is, their
# size and number; of a segment its type, place in the file, address and size there; of an entry of
# the dynamic segment its tag and value.
_ELF_HEADER = struct.Struct("<32xQ14xHH6x")
_SEGMENT = struct.Struct("<I4xQQ8xQ16x")
_ENTRY = struct.Struct("<qQ")
_LOADED, _DYNAMIC, _NEEDED, _STRINGS = 1, 2, 1, 5
_LONGEST_DYNAMIC, _LONGEST_NAME = 1 << 16, 256
# https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html
_VERSIONS, _MOST_VERSIONS = 0x6FFFFFFE, 100
_VERSION = struct.Struct("<8xII")

# More members than that are not looked at: the largest archives of CUDA have some thousands.
_MOST_MEMBERS = 100_000
_LONGEST_TABLE = 16 << 20
# No file is larger.
_LARGEST_OFFSET = (1 << 63) - 1


def machine(handle: IO[bytes]) -> str | None:
    """Return the machine of a file; None without machine code. An archive with members for several
    machines has all of them: `aarch64, x86_64`."""
    if _read(handle, 0, 8) == _ARCHIVE:
        return join_machines(map(_object, _members(handle)))
    return _object(_read(handle, 0, 64)) or _pe(handle)


@dataclass(frozen=True, slots=True)
class Linking:
    """The shared libraries that a program or library is loaded with, as it names them, and the
    versions of symbols that it needs of them: `GLIBC_2.34`."""

    libraries: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


def linking(handle: IO[bytes]) -> Linking:
    """Return what a program or library is loaded with; nothing for any other file. Only 64-bit
    little-endian files are supported, as by CUDA."""
    header = _read(handle, 0, _ELF_HEADER.size)
    if len(header) < _ELF_HEADER.size or header[:6] != b"\x7fELF\2\1":
        return Linking()
    table, size, count = _ELF_HEADER.unpack(header)
    if size != _SEGMENT.size:
        return Linking()
    segments = _rows(_SEGMENT, _read(handle, table, size * count))
    dynamic = next((segment for segment in segments if segment[0] == _DYNAMIC), (0, 0, 0, 0))
    entries = _rows(_ENTRY, _read(handle, dynamic[1], min(dynamic[3], _LONGEST_DYNAMIC)))
    values = {entry[0]: entry[1] for entry in entries}
    strings = _offset(segments, values.get(_STRINGS, -1))
    if strings is None:
        return Linking()
    libraries = [value for tag, value in entries if tag == _NEEDED]
    table_of_versions = _offset(segments, values.get(_VERSIONS, -1))
    versions = [] if table_of_versions is None else _versions(handle, table_of_versions)
    name = partial(_name, handle, strings)
    return Linking(tuple(map(name, libraries)), tuple(sorted(set(map(name, versions)))))


def needed_libraries(handle: IO[bytes]) -> tuple[str, ...]:
    """Return the shared libraries that a program or library is loaded with."""
    return linking(handle).libraries


def _offset(segments: Sequence[tuple[int, ...]], address: int) -> int | None:
    """Return the place in the file of an address."""
    for kind, place, start, length in segments:
        if kind == _LOADED and start <= address < start + length:
            return place + address - start
    return None


def _name(handle: IO[bytes], strings: int, offset: int) -> str:
    name = _read(handle, strings + offset, _LONGEST_NAME).partition(b"\0")[0]
    return name.decode("utf-8", "replace")


def _versions(handle: IO[bytes], place: int) -> list[int]:
    """Return the offsets of the names in a table of needed versions: each of its libraries has a
    list of versions, of which each has a name."""
    names: list[int] = []
    for first, following in _chain(handle, place):
        names += (name for name, _ in _chain(handle, place + first))
        place += following
    return names


def _chain(handle: IO[bytes], place: int) -> Iterator[tuple[int, int]]:
    """Yield the values of rows, each with the distance of the next row, which is 0 in the last."""
    for _ in range(_MOST_VERSIONS):
        data = _read(handle, place, _VERSION.size)
        if len(data) < _VERSION.size:
            return
        value, following = _VERSION.unpack(data)
        yield value, following
        if not following:
            return
        place += following


def _rows(row: struct.Struct, data: bytes) -> Sequence[tuple[int, ...]]:
    return [*row.iter_unpack(data[: len(data) // row.size * row.size])]


def join_machines(machines: Iterable[str | None]) -> str | None:
    """Return the machine of a file with parts; all machines where they differ."""
    return ", ".join(sorted({name for name in machines if name})) or None


def thin_members(handle: IO[bytes]) -> tuple[str, ...]:
    """Return the members of a thin archive: paths relative to the archive. Nothing for any other
    file."""
    if _read(handle, 0, 8) != _THIN:
        return ()
    names, table = [], b""
    for name, start, length in _entries(handle, is_thin=True):
        if name == b"//":
            table = _read(handle, start, min(length, _LONGEST_TABLE))
        elif name not in _TABLES:
            long = name[1:].isdigit() and name.startswith(b"/")
            text = table[int(name[1:]) :].partition(b"\n")[0] if long else name
            names.append(text.removesuffix(b"/").decode("utf-8", "replace"))
    return tuple(names)


def _read(handle: IO[bytes], offset: int, length: int) -> bytes:
    if offset > _LARGEST_OFFSET:
        return b""
    handle.seek(offset)
    return handle.read(length)


def _object(header: bytes) -> str | None:
    """Return the machine of an object file, by its first 64 bytes."""
    return _elf(header) or _coff(header)


def _elf(header: bytes) -> str | None:
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    order = "<" if header[5] == 1 else ">"
    (number,) = struct.unpack_from(f"{order}H", header, 18)
    if number == _CUDA:
        return None
    return _MACHINES.get((order, number), f"machine {number}")


def _coff(header: bytes) -> str | None:
    """Return the machine of an object of Windows. It has no magic number: the machine is followed
    by an optional header of size 0, which only programs have. An import object has a signature that
    is no machine."""
    if len(header) < _COFF_HEADER.size:
        return None
    if header[:4] == b"\0\0\xff\xff":
        (number,) = struct.unpack_from("<H", header, 6)
        return _COFF_MACHINES.get(number)
    number, optional = _COFF_HEADER.unpack_from(header)
    return _COFF_MACHINES.get(number) if optional == 0 else None


def _pe(handle: IO[bytes]) -> str | None:
    """Return the machine of a program or library for Windows."""
    header = _read(handle, 0, 64)
    if len(header) < 64 or header[:2] != b"MZ":
        return None
    (place,) = struct.unpack_from("<I", header, 60)
    signature = _read(handle, place, 6)
    if len(signature) < 6 or signature[:4] != b"PE\0\0":
        return None
    (number,) = struct.unpack_from("<H", signature, 4)
    return _COFF_MACHINES.get(number, f"machine {number:#x}")


def _members(handle: IO[bytes]) -> Iterator[bytes]:
    """Yield the first bytes of each member of an archive."""
    for name, start, length in _entries(handle, is_thin=False):
        if name not in _TABLES:
            # BSD's ar has long names before the member, and counts them as part of it.
            digits = name.removeprefix(b"#1/")
            name_length = int(digits) if name.startswith(b"#1/") and digits.isdigit() else 0
            yield _read(handle, start + min(name_length, length), 64)


def _entries(handle: IO[bytes], *, is_thin: bool) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of each member of an archive. A thin one stores only its
    tables."""
    size, offset = handle.seek(0, os.SEEK_END), len(_ARCHIVE)
    for _ in range(_MOST_MEMBERS):
        header = _read(handle, offset, _MEMBER_HEADER)
        name, digits = header[:16].rstrip(), header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit():
            return
        start, length = offset + _MEMBER_HEADER, int(digits)
        yield name, start, length
        stored = length if name in _TABLES or not is_thin else 0
        offset = start + stored + stored % 2
        if offset >= size:
            return
