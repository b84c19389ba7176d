"""The GPU architectures that a program, library or archive has code for, by the headers of its fat
binaries. Pure: what is read was written by strangers, so every number is checked, and every loop
has a limit."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from envmatrix.records import dataclass

# A container: magic, version, size of this header, size of what follows. `fatbinary` writes it, and
# `__fatBinC_Wrapper_t` of CUDA's fatbinary_section.h leads to it.
_CONTAINER = struct.Struct("<IHHQ")
_MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, _CONTAINER.size)
# One image in it: kind, version, size of this header, size of the image, architecture.
_IMAGE = struct.Struct("<H2xIQ12xI")
_PTX, _SASS = 1, 2

_CHUNK = 1 << 20
# Beyond these nothing is looked at: the largest libraries of CUDA have some thousand containers.
_LARGEST_FILE = 4 << 30
_MOST_IMAGES = _MOST_CONTAINERS = 100_000
_ARCHITECTURES = range(10, 1000)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """Architectures of machine code (SASS) and of PTX, which drivers compile for newer GPUs."""

    sass: frozenset[int] = frozenset()
    ptx: frozenset[int] = frozenset()


def device_code(handle: IO[bytes]) -> DeviceCode:
    """Return the architectures of all GPU code in a file."""
    kinds: dict[int, set[int]] = {_SASS: set(), _PTX: set()}
    for kind, architecture in islice(_images(handle), _MOST_IMAGES):
        if kind in kinds and architecture in _ARCHITECTURES:
            kinds[kind].add(architecture)
    return DeviceCode(frozenset(kinds[_SASS]), frozenset(kinds[_PTX]))


def difference(code: DeviceCode, architectures: Sequence[str]) -> str | None:
    """Describe how the architectures of a file differ from those requested; None where they do not,
    or the file has no GPU code. `90a` counts as 90."""
    if not code.sass and not code.ptx:
        return None
    expected = {int(name.rstrip("af")) for name in architectures}
    missing, extra = sorted(expected - code.sass), sorted(code.sass - expected)
    ptx_only = [number for number in missing if any(ptx <= number for ptx in code.ptx)]
    no_code = [number for number in missing if number not in ptx_only]
    differences = (("none for", no_code), ("only PTX for", ptx_only), ("also some for", extra))
    words = [
        f"{text} {', '.join(f'sm_{number}' for number in numbers)}"
        for text, numbers in differences
        if numbers
    ]
    return "; ".join(words) or None


def _images(handle: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Yield kind and architecture of each image of each container."""
    size = min(handle.seek(0, os.SEEK_END), _LARGEST_FILE)
    for place in islice(_containers(handle, size), _MOST_CONTAINERS):
        handle.seek(place)
        *_, length = _CONTAINER.unpack(handle.read(_CONTAINER.size))
        offset, end = place + _CONTAINER.size, min(place + _CONTAINER.size + length, size)
        while offset + _IMAGE.size <= end:
            handle.seek(offset)
            header = handle.read(_IMAGE.size)
            if len(header) < _IMAGE.size:
                break
            kind, header_size, image_size, architecture = _IMAGE.unpack(header)
            if header_size < _IMAGE.size:
                break
            yield kind, architecture
            offset += header_size + image_size


def _containers(handle: IO[bytes], size: int) -> Iterator[int]:
    """Yield the offsets of containers."""
    offset, overlap = 0, b""
    while offset < size:
        handle.seek(offset)
        chunk = handle.read(min(_CHUNK, size - offset))
        if not chunk:
            return
        window, start = overlap + chunk, offset - len(overlap)
        place = window.find(_MAGIC)
        while place >= 0:
            if start + place + _CONTAINER.size <= size:
                yield start + place
            place = window.find(_MAGIC, place + 1)
        overlap = window[-(len(_MAGIC) - 1) :]
        offset += len(chunk)
