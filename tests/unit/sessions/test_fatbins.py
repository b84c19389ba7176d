from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.sessions.contexts import build_context

from envmatrix.app.compilation import warn_of_architectures
from envmatrix.console import Console
from envmatrix.sessions.fatbins import DeviceCode, device_code, difference
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner

PTX, SASS = 1, 2


def image(kind: int, architecture: int, *, size: int = 8, header: int = 64) -> bytes:
    """Return an image of a fat binary, as CUDA 11 to 13 write it."""
    start = struct.pack("<HHIQIIHHI", kind, 0x101, header, size, 0, 0, 7, 1, architecture)
    return start.ljust(64, b"\0") + bytes(8)


def container(*images: bytes, size: int | None = None) -> bytes:
    content = b"".join(images)
    length = len(content) if size is None else size
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, length) + content


def code(content: bytes) -> tuple[list[int], list[int]]:
    binary = device_code(io.BytesIO(content))
    return sorted(binary.sass), sorted(binary.ptx)


BOTH = container(image(SASS, 75), image(SASS, 90), image(PTX, 90))


@pytest.mark.parametrize(
    ("content", "sass", "ptx"),
    [
        (BOTH, [75, 90], [90]),
        (b"\x7fELF" + bytes(99) + BOTH + container(image(SASS, 120)), [75, 90, 120], [90]),
        (bytes((1 << 20) - 3) + BOTH, [75, 90], [90]),
        (b"", [], []),
        (b"no code for GPUs at all", [], []),
        (container(), [], []),
        (BOTH[:40], [], []),
        (container(image(SASS, 75), size=1 << 62), [75], []),
        (container(image(SASS, 75), size=0), [], []),
        (container(image(SASS, 75, size=(1 << 64) - 1)), [75], []),
        (container(image(SASS, 75, header=0), image(SASS, 90)), [], []),
        (container(image(SASS, 0), image(SASS, 4_000_000), image(16, 75)), [], []),
    ],
)  # fmt: skip
def test_headers_of_fat_binaries_tell_the_architectures(
    content: bytes, sass: list[int], ptx: list[int]
) -> None:
    assert code(content) == (sass, ptx)


def test_what_is_nothing_but_beginnings_takes_no_long_time() -> None:
    assert code(container() * 200_000) == ([], [])
    endless = container(*[image(SASS, 75)] * 3, size=1 << 40)
    assert code(endless * 5_000)[0] == [75]


@pytest.mark.parametrize(
    ("sass", "ptx", "words"),
    [
        ({75, 90}, {75, 90}, None),
        (set(), set(), None),
        ({75, 90}, set(), None),
        ({52}, {52}, "only PTX for sm_75, sm_90; also some for sm_52"),
        ({75}, {75}, "only PTX for sm_90"),
        ({90}, {90}, "none for sm_75"),
        (set(), {80}, "none for sm_75; only PTX for sm_90"),
        ({75, 80, 90}, set(), "also some for sm_80"),
    ],
)
def test_what_is_other_than_asked_for_is_told(
    sass: set[int], ptx: set[int], words: str | None
) -> None:
    binary = DeviceCode(frozenset(sass), frozenset(ptx))
    assert difference(binary, ["75", "90a"]) == words


def test_what_cmake_compiles_for_itself_is_not_compared_with_sm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = replace(build_context(), root=tmp_path)
    products = []
    for name in ("CMakeFiles/3.25.1/CompilerIdCUDA/tmp/a.o", "CMakeFiles/a.dir/a.cu.o"):
        file = context.directory / context.build.name / name
        file.parent.mkdir(parents=True)
        file.write_bytes(container(image(SASS, 52)))
        products.append(Product(name, "x86_64", file.stat().st_size))

    warn_of_architectures(products, Runner(FakeExecutor(), context, Console()))

    output = capsys.readouterr().err
    assert "a.cu.o` has other GPU code" in output
    assert "CompilerId" not in output
