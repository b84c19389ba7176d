from __future__ import annotations

import io
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.sessions import binaries


def elf(machine: int, *, order: str = "<") -> bytes:
    """Return the first 20 bytes of a shared object."""
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HH", 3, machine)


def shared_object(
    *needed: str, machine: int = 62, versions: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> bytes:
    """Return a shared object that is loaded with libraries, with versions of their symbols."""
    names = b"\0" + b"".join(
        f"{name}\0".encode() for name in (*needed, *versions, *chain(*versions.values()))
    )

    def offset(name: str) -> int:
        return names.index(f"\0{name}\0".encode()) + 1

    table = b""
    for number, (library, symbols) in enumerate(versions.items(), 1):
        following = 16 * (len(symbols) + 1) if number < len(versions) else 0
        table += struct.pack("<HHIII", 1, len(symbols), offset(library), 16, following)
        for index, symbol in enumerate(symbols, 1):
            end = 16 if index < len(symbols) else 0
            table += struct.pack("<IHHII", 0, 0, index + 1, offset(symbol), end)
    entries = len(needed) + 3
    place = 64 + 2 * 56
    strings = place + 16 * entries + len(table)
    dynamic = b"".join(struct.pack("<qQ", 1, offset(name)) for name in needed)
    dynamic += struct.pack("<qQ", 5, strings)
    dynamic += struct.pack("<qQ", 0x6FFFFFFE, place + 16 * entries) if table else bytes(16)
    dynamic += bytes(16)
    size = strings + len(names)
    header = elf(machine).ljust(32, b"\0") + struct.pack("<QQIHHHHHH", 64, 0, 0, 64, 56, 2, 0, 0, 0)
    loaded = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    segment = struct.pack("<IIQQQQQQ", 2, 4, place, place, place, len(dynamic), len(dynamic), 8)
    return header + loaded + segment + dynamic + table + names


def pe(machine: int) -> bytes:
    """Return the first bytes of a program for Windows."""
    return (
        b"MZ"
        + bytes(58)
        + struct.pack("<I", 128)
        + bytes(64)
        + b"PE\0\0"
        + struct.pack("<H", machine)
    )


def coff(machine: int, *, optional: int = 0) -> bytes:
    """Return the header of an object for Windows."""
    return struct.pack("<HHIIIHH", machine, 3, 0, 400, 10, optional, 0)


def imported(machine: int) -> bytes:
    """Return the entry in a library for a function of a DLL."""
    return struct.pack("<HHHHIIHH", 0, 0xFFFF, 0, machine, 0, 12, 0, 0)


def member(name: str, content: bytes, *, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{size:<10}`\n".encode()
    return head + content + b"\n" * (len(content) % 2)


def archive(*members: bytes) -> bytes:
    return b"!<arch>\n" + b"".join(members)


X86, ARM, CUDA = elf(62), elf(183), elf(190)


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (X86, "x86_64"),
        (ARM, "aarch64"),
        (elf(21), "ppc64le"),
        (elf(21, order=">"), "machine 21"),
        (CUDA, None),
        (X86[:19], None),
        (b"", None),
        (b"plain text that is longer than any header of an object file is", None),
        (pe(0x8664), "x86_64-windows"),
        (pe(0xAA64), "aarch64-windows"),
        (pe(0x14C), "machine 0x14c"),
        (pe(0x8664)[:-1], None),
        (pe(0x8664)[:63], None),
        (pe(0x8664)[:128], None),
        (pe(0x8664).replace(b"PE", b"NE"), None),
        (coff(0x8664), "x86_64-windows"),
        (coff(0x8664, optional=240), None),
        (archive(member("/", bytes(8)), member("a.o/", X86)), "x86_64"),
        (archive(member("//", b"a_long_name_of_one.o/\n"), member("/0", ARM)), "aarch64"),
        (archive(member("#1/20", b"a_long_name_of_one.o" + X86)), "x86_64"),
        (archive(member("a.o/", X86), member("b.o/", ARM)), "aarch64, x86_64"),
        (archive(member("a.o/", X86[:-1] + b"\0\0"), member("b.o/", X86)), "x86_64"),
        (archive(member("a.o/", X86), member("k.cubin/", CUDA)), "x86_64"),
        (archive(member("a.obj/", coff(0x8664)), member("b/", imported(0x8664))), "x86_64-windows"),
        (archive(member("notes/", b"text")), None),
        (archive(), None),
        (archive(member("a.o/", X86, length=10**9)), "x86_64"),
        (archive(member("a.o/", b"", length=0)) + b"garbage" * 20, None),
        (archive(member("a.o/", X86).replace(b"20 ", b"-9 ")), None),
    ],
)
def test_headers_tell_the_machine(content: bytes, machine: str | None) -> None:
    assert binaries.machine(io.BytesIO(content)) == machine


def test_a_thin_archive_names_its_members() -> None:
    names = b"objects/one_with_a_long_name.o/\ntwo.o/\n"
    thin = b"!<thin>\n" + member("//", names) + member("/0", b"", length=99)
    thin += member("/32", b"", length=7) + member("c.o/", b"", length=8)
    assert binaries.thin_members(io.BytesIO(thin)) == (
        "objects/one_with_a_long_name.o",
        "two.o",
        "c.o",
    )
    assert binaries.thin_members(io.BytesIO(archive(member("c.o/", X86)))) == ()


@pytest.mark.skipif(not shutil.which("ar"), reason="binutils are not installed")
@pytest.mark.parametrize(("options", "is_thin"), [("rcs", False), ("rcsT", True)])
def test_archives_of_binutils_are_read(tmp_path: Path, options: str, *, is_thin: bool) -> None:
    for name in ("a.o", "an_object_with_a_name_that_is_long.o"):
        (tmp_path / name).write_bytes(X86 + bytes(44))
    names = [path.name for path in sorted(tmp_path.iterdir())]
    subprocess.run(["ar", options, "libx.a", *names], cwd=tmp_path, check=False, stderr=-3)
    with (tmp_path / "libx.a").open("rb") as handle:
        assert binaries.machine(handle) == (None if is_thin else "x86_64")
        assert binaries.thin_members(handle) == (tuple(names) if is_thin else ())


def test_programs_tell_the_libraries_that_they_are_loaded_with(tmp_path: Path) -> None:
    with Path("/bin/sh").open("rb") as handle:
        assert "libc.so.6" in binaries.needed_libraries(handle)
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with (tmp_path / "script").open("rb") as handle:
        assert binaries.needed_libraries(handle) == ()


def test_a_library_tells_what_it_is_loaded_with_and_the_versions_that_it_needs() -> None:
    versions = {"libc.so.6": ["GLIBC_2.14", "GLIBC_2.34"], "libm.so.6": ["GLIBC_2.29"]}
    content = shared_object("libc.so.6", "libm.so.6", versions=versions)
    linking = binaries.linking(io.BytesIO(content))
    assert linking.libraries == ("libc.so.6", "libm.so.6")
    assert linking.versions == ("GLIBC_2.14", "GLIBC_2.29", "GLIBC_2.34")


@given(st.data())
def test_damaged_tables_of_versions_end(data: st.DataObject) -> None:
    content = bytearray(shared_object("liba.so", versions={"liba.so": ["A_1", "A_2"]}))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    assert len(binaries.linking(io.BytesIO(bytes(content))).versions) <= 10_000


_FIELD = st.integers(0, 2**64 - 1) | st.integers(0, 400)


@given(
    st.lists(_FIELD, min_size=3, max_size=3),
    st.lists(st.tuples(st.sampled_from([1, 2]), _FIELD, _FIELD, _FIELD), max_size=3),
    st.binary(max_size=300),
)
def test_no_header_has_more_read_than_there_is(
    header: list[int], segments: list[tuple[int, int, int, int]], rest: bytes
) -> None:
    table, count = header[0], header[1] % 2**16
    content = b"\x7fELF\2\1" + bytes(26) + struct.pack("<Q14xHH2x", table, 56, count)
    content += b"".join(struct.pack("<I4xQQ8xQ16x", *segment) for segment in segments) + rest
    assert all(isinstance(name, str) for name in binaries.needed_libraries(io.BytesIO(content)))
