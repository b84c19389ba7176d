"""Reading and writing of users' files: only regular ones are read, because a pipe would block."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_native_id

from envmatrix.errors import ConfigurationError
from envmatrix.text import one_line


def open_regular(file: Path) -> io.BufferedReader:
    """Open a file to read; OSError where it is a pipe, a directory, a socket or a device."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.ENXIO, "it is no regular file", str(file))
    # It may have been replaced since.
    return os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def read_regular(file: Path) -> bytes:
    """Return the content of a file; OSError where it is no regular one."""
    with open_regular(file) as handle:
        return handle.read()


def readable_text(file: Path) -> str:
    """Return the text of a file of this machine; empty where it cannot be read."""
    try:
        return read_regular(file).decode("utf-8", "replace")
    except OSError:
        return ""


def content_of(file: Path, name: str) -> bytes:
    """Return the content of a file of a repository or a configuration; `name` is its name in
    messages.

    Raises:
        FileNotFoundError: it does not exist.
        ConfigurationError: it cannot be read.
    """
    try:
        return read_regular(file)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(file)) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"`{one_line(name)}` cannot be read: {reason}") from error


def text_of(file: Path, name: str) -> str:
    """Return the text of a file of a repository or a configuration; errors as of `content_of`."""
    content = content_of(file, name)
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"`{one_line(name)}` is not UTF-8") from error


@contextmanager
def naming(file: Path, scratch: Path | None = None) -> Iterator[None]:
    """Name a file in errors of writing to it, which do not, or which name the scratch file that it
    is made of: where it is decides on the remedy."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.filename == str(scratch):
            error.filename = str(file)
        raise


def write_whole(file: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically: no reader sees a part of it. A device is not replaced."""
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(file))
    if file.is_char_device() or file.is_block_device():
        raise FileExistsError(errno.EEXIST, "it is a device", str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(f".{os.getpid()}-{get_native_id()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with naming(file, scratch):
        scratch.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(scratch, flags, mode), "wb") as handle:
                handle.write(content)
            scratch.replace(file)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def remove_entry(entry: Path) -> None:
    """Remove a file, a pipe, a link itself, or a directory with its content, if there is one."""
    try:
        entry.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except IsADirectoryError:
        import shutil

        shutil.rmtree(entry)


def make_directory(directory: Path) -> None:
    """Make a directory, also in the place of another entry; a link to a directory is one."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        with suppress(FileNotFoundError, IsADirectoryError):  # another process was first
            directory.unlink()
        directory.mkdir(exist_ok=True)


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Yield a path beside `directory` to fill; it becomes `directory` in one step at the end. The
    caller keeps other processes away."""
    import shutil

    scratch = directory.with_name(f"{directory.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield scratch
        scratch.rename(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
