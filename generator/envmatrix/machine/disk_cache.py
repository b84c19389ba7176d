"""A cache of values derived from files, valid until a file or the tool changes."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pickle
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from datetime import date
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import envmatrix
from envmatrix.files import read_regular, write_whole
from envmatrix.machine.cache import cache_directory

T = TypeVar("T")

# Older values are removed, once a day: one that is still valid is made again.
_DAY = 24 * 3600.0
_LONGEST = 30 * _DAY

# The largest value that is kept: far above that of a matrix with thousands of cells.
_MOST_BYTES = 64 << 20

# A file that was written a moment ago may change again at what a file system takes for one time.
_SETTLED_SECONDS = 2.0

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def identity(files: Iterable[Path]) -> bytes:
    """Return a hash of files by name and content; a missing file is an input as well."""
    digest = hashlib.sha256()
    for file in sorted(files, key=str):
        try:
            content = read_regular(file)
        except OSError:  # the code that needs it reports the error
            content = b"absent"
        digest.update(os.fsencode(file) + f" {len(content)} ".encode())
        digest.update(content)
    return digest.digest()


def identity_by_state(name: str, files: Sequence[str], now: float) -> bytes:
    """Return a hash of many files by name and content. They are read again only where the state of
    one of them has changed, or if one changed just before `now`."""

    def read() -> bytes:
        return identity(map(Path, files))

    digest, newest = hashlib.sha256(), 0.0
    for file in sorted(files):
        with suppress(OSError):  # the code that needs it reports the error
            status = os.stat(file)  # noqa: PTH116 -- a `Path` of each takes as long
            state = f"{file} {status.st_dev} {status.st_ino} {status.st_ctime_ns} {status.st_size} "
            digest.update(state.encode("utf-8", "surrogateescape"))
            newest = max(newest, status.st_ctime)
    if now - newest < _SETTLED_SECONDS:
        return read()
    return cached_value(f"content of {name}", digest.digest(), read)


def cached_value(name: str, inputs: bytes, make: Callable[[], T]) -> T:
    """Return the value of `make`, from the user's cache where the identity of its `inputs` and the
    tool are unchanged.

    A new value replaces the last one of its `name`. Exceptions of `make`, and None, are not cached;
    a cache that cannot be written costs only time.
    """
    key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    inputs = _tool() + inputs
    with suppress(OSError):
        seal, _, content = _read(key).partition(b"\n")
        if seal == _seal(inputs, content):
            with suppress(Exception):  # a pickle fails in any way
                return cast("T", _Values(io.BytesIO(content)).load())
    value = make()
    if value is None:
        return value
    content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    if len(content) > _MOST_BYTES:
        return value
    with suppress(OSError):
        _write(key, _seal(inputs, content) + b"\n" + content)
    return value


class _Values(pickle.Unpickler):
    """An unpickler of this package's dataclasses and enums only; no function is ever called."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) == ("datetime", "date"):
            return date
        if module.startswith("envmatrix.") and name.isidentifier():
            value = getattr(importlib.import_module(module), name, None)
            if isinstance(value, type) and (is_dataclass(value) or issubclass(value, Enum)):
                return value
        raise pickle.UnpicklingError(f"{module}.{name} is no value")


def _seal(inputs: bytes, content: bytes) -> bytes:
    """Return the checksum that guards against other inputs and damaged content."""
    return hashlib.sha256(inputs + content).hexdigest().encode()


# That of sha256 with a line break.
_LONGEST_SEAL = 65


@cache
def _tool() -> bytes:
    """Return a hash of the tool's code and facts, and of the interpreter."""
    digest = hashlib.sha256(f"{sys.version} {envmatrix.__version__}".encode())
    directories = [str(Path(envmatrix.__file__).parent)]
    while directories:
        for entry in sorted(os.scandir(directories.pop()), key=lambda entry: entry.name):
            if not entry.is_dir():
                status = entry.stat()
                state = f" {status.st_mtime_ns} {status.st_size}".encode()
                digest.update(os.fsencode(entry.path) + state)
            elif entry.name != "__pycache__":
                directories.append(entry.path)
    return digest.digest()


def _read(name: str) -> bytes:
    with (
        _open_directory() as directory,
        os.fdopen(os.open(name, _FILE, dir_fd=directory), "rb") as handle,
    ):
        status = os.fstat(handle.fileno())
        is_value = stat.S_ISREG(status.st_mode) and _is_private(status)
        is_small = status.st_size <= _MOST_BYTES + _LONGEST_SEAL
        return handle.read() if is_value and is_small else b""


def _write(name: str, content: bytes) -> None:
    directory = _directory()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        _remove_foreign(directory)
    with suppress(FileExistsError):
        directory.mkdir(0o700)
    with _open_directory() as opened:
        write_whole(Path(f"/proc/self/fd/{opened}", name), content, 0o600)
    _sweep(directory, time.time())


def _sweep(directory: Path, now: float) -> None:
    """Remove old values, if that was not done today."""
    stamp = directory.with_suffix(".swept")
    if stamp.exists() and abs(now - stamp.lstat().st_mtime) < _DAY:
        return
    for file in directory.iterdir():
        if now - file.lstat().st_mtime > _LONGEST:
            file.unlink(missing_ok=True)
    write_whole(stamp, b"", 0o600)


def _directory() -> Path:
    return cache_directory() / "remembered"


@contextmanager
def _open_directory() -> Iterator[int]:
    """Yield a descriptor of the directory; PermissionError where other users can write to it."""
    descriptor = os.open(_directory(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _is_private(os.fstat(descriptor)):
            raise PermissionError
        yield descriptor
    finally:
        os.close(descriptor)


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _remove_foreign(directory: Path) -> None:
    """Remove what is no directory, such as a link or a pipe, or is one that other users can write
    to."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        directory.unlink()
    elif not _is_private(status):
        import shutil

        shutil.rmtree(directory)
