"""The job whose outputs a build directory has, by a file beside it. Whatever compiles in the
directory, or opens it for people, forgets the job first."""

from __future__ import annotations

from pathlib import Path

from envmatrix.confined import Area
from envmatrix.files import readable_text, write_whole


def mark(parent: Path, name: str, job: str) -> None:
    """Note that the build directory `name` has the outputs of a job."""
    write_whole(_file(parent, name), f"{job} {_number(parent, name)}\n".encode())


def is_marked(parent: Path, name: str, job: str) -> bool:
    """Return whether the build directory `name` has the outputs of a job: it is the same directory,
    and was not cleared meanwhile, as where a test fills the disk."""
    text = readable_text(_file(parent, name))
    return text.startswith(f"{job} ") and text == f"{job} {_number(parent, name)}\n"


def forget(parent: Path, name: str) -> None:
    _file(parent, name).unlink(missing_ok=True)


def _file(parent: Path, name: str) -> Path:
    return parent / f"{name}.job"


def _number(parent: Path, name: str) -> int:
    """Return the number of a directory in its file system; 0 where it is empty."""
    with Area(parent / name).opened() as directory:
        return 0 if directory.is_empty else directory.number
