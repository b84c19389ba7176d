"""What a build directory has, by files beside it: the outputs of a job, the configuration of a
state of the source. Whatever compiles in the directory, or opens it for people, forgets both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from envmatrix.confined import Area
from envmatrix.files import readable_text, write_whole

Mark = Literal["job", "configured"]


def mark(parent: Path, name: str, job: str, what: Mark = "job") -> None:
    """Note that the build directory `name` has the outputs of a job, or is configured for a state
    of the source."""
    write_whole(_file(parent, name, what), f"{job} {_number(parent, name)}\n".encode())


def is_marked(parent: Path, name: str, job: str, what: Mark = "job") -> bool:
    """Return whether the build directory `name` has the outputs of a job, or is configured for a
    state of the source: it is the same directory, and was not cleared meanwhile, as where a test
    fills the disk."""
    text = readable_text(_file(parent, name, what))
    return text.startswith(f"{job} ") and text == f"{job} {_number(parent, name)}\n"


def forget(parent: Path, name: str) -> None:
    for what in get_args(Mark):
        _file(parent, name, what).unlink(missing_ok=True)


def _file(parent: Path, name: str, what: Mark) -> Path:
    return parent / f"{name}.{what}"


def _number(parent: Path, name: str) -> int:
    """Return the number of a directory in its file system; 0 where it is empty."""
    with Area(parent / name).opened() as directory:
        return 0 if directory.is_empty else directory.number
