"""Packages of Debian with what `find_package` of CMake looks for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from envmatrix.facts.loading import read_facts
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class FindModule:
    """The package with what `find_package` looks for under a name; `ref` says where it is."""

    package: str
    ref: str


@cache
def find_modules() -> Mapping[str, FindModule]:
    """Return the rows by the names that CMake has for them."""
    rows: Mapping[str, FindModule] = read_facts("find_modules.yaml", Mapping[str, FindModule])
    return rows
