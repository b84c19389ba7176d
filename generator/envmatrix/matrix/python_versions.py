"""Releases of Python that libraries are for, and operating systems that have one. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from envmatrix.facts.model import Facts
from envmatrix.facts.versions import version_key
from envmatrix.matrix.cells import Cell, gil_release
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.library import Library
from envmatrix.matrix.pythons import python_of

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


def is_python_of(library: Library, release: str) -> bool:
    """Return whether a library is for a release of Python, with or without the GIL."""
    comparisons = re.findall(r"([<>=!]+)([0-9.]+)", library.python or "")
    return all(
        _COMPARISONS[comparison](version_key(gil_release(release)), version_key(version))
        for comparison, version in comparisons
    )


def python_verdict(library: Library, cell: Cell, facts: Facts) -> Verdict:
    """Return whether a cell has a Python that a library is for."""
    release = python_of(cell, facts)
    subject = f"library `{library.declared_name}` is for Python {library.python}"
    if release is None:
        explanation = f"{subject}; it is not known which one `{cell.os}` has"
        return Verdict("python", passed=False, explanation=explanation, ref="os.yaml")
    passed = is_python_of(library, release)
    others = "" if passed else f"; {systems_with(library, facts) or 'no operating system has one'}"
    owner = cell.id if cell.python else cell.os
    explanation = f"{subject}, `{owner}` has {release}{others}"
    return Verdict("python", passed=passed, explanation=explanation, ref="os.yaml")


def systems_with(library: Library, facts: Facts) -> str:
    """Return the operating systems that have a Python that a library is for, in words; empty
    without any."""
    rows = [
        f"`{os.name}` has {os.python}"
        for os in facts.os.values()
        if os.python and is_python_of(library, os.python)
    ]
    return ", ".join(rows)
