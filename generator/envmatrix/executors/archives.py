"""Inputs and outputs of tasks as archives: packed on this machine, and unpacked into areas."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO

from envmatrix.confined import Area, Directory
from envmatrix.confined.packing import PLAIN, Form, pack
from envmatrix.engine.tasks import Mount
from envmatrix.errors import EngineError
from envmatrix.vcs.archive_entries import ArchiveEntry, BadArchive, read_entries

_CHUNK = 1 << 20
# As much of a hash as fits into a label of Kubernetes.
_IDENTITY_LENGTH = 40


@contextmanager
def packed(mount: Mount, form: Form = PLAIN) -> Iterator[Path | None]:
    """Yield a temporary archive of the source of a mount; None for an empty directory. A file is
    the only entry of its archive."""
    with NamedTemporaryFile(prefix="envmatrix-input-") as file:
        source = mount.source
        if isinstance(source, Area):
            with source.opened() as directory:
                is_empty = directory.is_empty
                directory.pack(file, form)
        else:
            is_empty = False
            _pack_path(source, file, replace(form, left_out=mount.left_out))
        file.flush()
        yield None if is_empty else Path(file.name)


def _pack_path(source: Path, file: IO[bytes], form: Form) -> None:
    if not source.exists():
        raise EngineError(f"the input `{source}` does not exist")
    is_directory = source.is_dir()
    directory = source if is_directory else source.parent
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            only = None if is_directory else source.name
            pack(descriptor, file, replace(form, only=only))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EngineError(f"the input `{source}` cannot be packed: {error}") from error


def unpack_into(area: Area, archive: Path) -> None:
    """Replace the content of an area by that of an archive, which a container may have made. Links
    are made as they are, and last, so nothing is written through one."""
    links: list[ArchiveEntry] = []
    try:
        with area.opened() as directory:
            directory.clear()
            for entry in read_entries(archive, omits_special=True):
                if not PurePosixPath(entry.name).parts:
                    continue  # the directory itself
                if entry.kind == "link":
                    links.append(entry)
                else:
                    _add(directory, entry)
            for entry in links:
                directory.link(entry.name, entry.link)
    except BadArchive as error:
        raise EngineError(f"the outputs for `{area.name}` cannot be unpacked: {error}") from error


def _add(directory: Directory, entry: ArchiveEntry) -> None:
    if entry.kind == "directory":
        directory.make_directory(entry.name)
    elif entry.kind == "file":
        chunks: Callable[[], bytes] = partial(entry.read, _CHUNK)
        directory.add(entry.name, iter(chunks, b""), mode=entry.mode, modified=entry.modified)
    else:
        _copy(directory, entry)


def _copy(directory: Directory, entry: ArchiveEntry) -> None:
    """Add another name of an earlier file as a file of its own."""
    with directory.open(entry.link) as original:
        chunks = iter(partial(original.read, _CHUNK), b"")
        directory.add(entry.name, chunks, mode=entry.mode, modified=entry.modified)


def digest_of_file(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def identity_of_inputs(digests: Mapping[str, str]) -> str:
    """Return the hash of what a task reads: of the digests of the archives of its inputs, by their
    target."""
    rows = json.dumps(sorted(digests.items()))
    return hashlib.sha256(rows.encode()).hexdigest()[:_IDENTITY_LENGTH]
