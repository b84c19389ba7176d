"""Contents of a wheel that a build made: its tags, its requirements, and its machine code. A wheel
may be anything, so all that is read of it has a limit."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from envmatrix.confined import Directory
from envmatrix.errors import EnvmatrixError
from envmatrix.records import dataclass
from envmatrix.sessions import binaries
from envmatrix.text import one_line
from envmatrix.vcs.archive_entries import ArchiveEntry, BadArchive, read_zip, reading

_CHUNK = 1 << 20
_LARGEST_METADATA = 4 << 20
_MOST_ENTRIES = 100_000
_LONGEST_REASON = 300
_ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class MachineCode:
    """A program or library in a wheel; `machine` is None for code of GPUs."""

    path: str
    machine: str | None
    linking: binaries.Linking

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)


@dataclass(frozen=True, slots=True)
class WheelContents:
    """What a wheel says of itself, and its programs and libraries. `named` are the tags of its
    name, `tags` those in it."""

    path: str
    named: frozenset[Tag]
    tags: frozenset[Tag]
    requirements: tuple[Requirement, ...]
    code: tuple[MachineCode, ...]

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    @property
    def is_of_platform(self) -> bool:
        """Return whether it has code for a machine, not for GPUs alone."""
        return any(code.machine for code in self.code)

    @property
    def external(self) -> tuple[str, ...]:
        """The libraries that its code is loaded with and that are not in it."""
        own = {code.name for code in self.code}
        needed = {name for code in self.code for name in code.linking.libraries}
        return tuple(sorted(needed - own))

    @property
    def glibc(self) -> int:
        """The minor version of the glibc 2 that its code needs, 0 for any."""
        versions = {version for code in self.code for version in code.linking.versions}
        return max(map(glibc_minor, versions), default=0)


def glibc_minor(version: str) -> int:
    """Return the minor version in `GLIBC_2.34`; 0 in any other version."""
    digits = version.removeprefix("GLIBC_2.").partition(".")[0]
    is_glibc = version.startswith("GLIBC_2.") and digits.isascii() and digits.isdigit()
    return int(digits[:4]) if is_glibc else 0


def read_wheel(build: Directory, path: str) -> WheelContents:
    """Return the contents of a wheel in a build directory."""
    with build.open(path) as handle, _translated(path):
        return _read(path, handle)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        with reading():
            yield
    except BadArchive as error:
        name = one_line(posixpath.basename(path))
        reason = one_line(str(error)[:_LONGEST_REASON])
        raise EnvmatrixError(f"`{name}` is no valid wheel: {reason}") from error


def _read(path: str, handle: IO[bytes]) -> WheelContents:
    named = parse_wheel_filename(posixpath.basename(path))[3]
    texts: dict[str, bytes] = {}
    code: list[MachineCode] = []
    for number, entry in enumerate(read_zip(handle)):
        if number == _MOST_ENTRIES:
            raise BadArchive(f"it has more than {_MOST_ENTRIES} files")
        directory, _, name = entry.name.rpartition("/")
        if directory.endswith(".dist-info") and name in ("METADATA", "WHEEL"):
            if name in texts:
                raise BadArchive(f"it has more than one `{name}`")
            texts[name] = _text(entry)
        elif entry.kind == "file":
            code += _machine_code(entry)
    if missing := {"METADATA", "WHEEL"} - texts.keys():
        raise BadArchive(f"it has no `{min(missing)}`")
    return WheelContents(
        path, named, _tags(texts["WHEEL"]), _requirements(texts["METADATA"]), tuple(code)
    )


def _text(entry: ArchiveEntry) -> bytes:
    text = entry.read(_LARGEST_METADATA + 1)
    if len(text) > _LARGEST_METADATA:
        raise BadArchive(f"`{entry.name[:99]}` has more than {_LARGEST_METADATA >> 20} MiB")
    return text


def _machine_code(entry: ArchiveEntry) -> Iterator[MachineCode]:
    """Yield the machine code of an entry, if it is any."""
    first = entry.read(_CHUNK)
    if not first.startswith(_ELF):
        return
    with TemporaryFile() as file:
        file.write(first)
        while piece := entry.read(_CHUNK):
            file.write(piece)
        yield MachineCode(entry.name, binaries.machine(file), binaries.linking(file))


def _tags(text: bytes) -> frozenset[Tag]:
    """Return the tags in WHEEL: https://packaging.python.org/en/latest/specifications/binary-distribution-format/"""
    rows = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    texts = [value.strip() for key, _, value in rows if key.strip().lower() == "tag"]
    parts = [tuple(text.split("-")) for text in texts]
    if not parts or any(len(row) != len(("interpreter", "abi", "platform")) for row in parts):
        raise BadArchive("its `WHEEL` has no valid tags")
    return frozenset(Tag(*row) for row in parts)


def _requirements(text: bytes) -> tuple[Requirement, ...]:
    return tuple(Metadata.from_email(text, validate=False).requires_dist or ())
