"""What is proposed for a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from envmatrix.records import dataclass

# Packages of an interpreter of Python.
PYTHON_TO_RUN = ("libpython3-stdlib", "python3-minimal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposed library: the directory `path`, and the entries `build` and `test` as in
    matrix.yaml, where an empty `build` and None are the defaults. `packages` are those that images
    need beside the built-in ones, by flavour; `system` and `tests` describe it for people,
    `project` is its name in the files of its build system, if they tell it, and `notes` are what
    was not decided."""

    system: str
    tests: str
    build: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] | str | None = None
    packages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    project: str = ""
    path: str = "."
