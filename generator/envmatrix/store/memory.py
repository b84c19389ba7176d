"""What was worked out from files, kept until one of them changes, or the tool itself."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import envmatrix
from envmatrix.store.artifacts import cache_directory, write_whole

T = TypeVar("T")

# How many values are kept; where there are more, the older half goes.
_MOST = 1024


def identity(files: Iterable[Path]) -> bytes:
    """What files are, by name and content. One that is not there is an input as well."""
    digest = hashlib.sha256()
    for file in sorted(files):
        try:
            content = file.read_bytes()
        except OSError:  # who needs it says what is wrong with it
            content = b"absent"
        digest.update(f"{file} {len(content)} ".encode() + content)
    return digest.digest()


def remembered(name: str, inputs: bytes, make: Callable[[], T]) -> T:
    """What `make` makes, from the user's cache where the identity of its `inputs` and the tool are
    what they were.

    A new value takes the place of the last one of its `name`. What `make` raises is not kept; a
    cache that cannot be written costs only time.
    """
    kept = cache_directory() / "remembered" / hashlib.sha256(name.encode()).hexdigest()[:24]
    inputs = _tool() + inputs
    with suppress(OSError):
        seal, _, content = _read(kept).partition(b"\n")
        if seal == _seal(inputs, content):
            value: T = pickle.loads(content)  # noqa: S301 -- nobody else can have written it
            return value
    value = make()
    content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    with suppress(OSError):
        _write(kept, _seal(inputs, content) + b"\n" + content)
    return value


def _seal(inputs: bytes, content: bytes) -> bytes:
    """So that nothing is unpickled of other inputs, or that was damaged."""
    return hashlib.sha256(inputs + content).hexdigest().encode()


@cache
def _tool() -> bytes:
    """Changes with the tool's code and facts, and with the interpreter."""
    digest = hashlib.sha256(f"{sys.version} {envmatrix.__version__}".encode())
    directories = [str(Path(envmatrix.__file__).parent)]
    while directories:
        for entry in sorted(os.scandir(directories.pop()), key=lambda its: its.name):
            if not entry.is_dir():
                found = entry.stat()
                digest.update(f"{entry.path} {found.st_mtime_ns} {found.st_size}".encode())
            elif entry.name != "__pycache__":
                directories.append(entry.path)
    return digest.digest()


def _read(kept: Path) -> bytes:
    """Nothing where somebody else may have written it: a cache can be shared, and what is
    unpickled can run programs."""
    with kept.open("rb") as handle:
        its = os.fstat(handle.fileno())
        is_ours = its.st_uid == os.getuid() and not its.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return handle.read() if is_ours else b""


def _write(kept: Path, content: bytes) -> None:
    write_whole(kept, content, 0o600)
    everything = list(kept.parent.iterdir())
    if len(everything) > _MOST:
        for file in sorted(everything, key=lambda its: its.stat().st_mtime)[: -_MOST // 2]:
            file.unlink(missing_ok=True)
