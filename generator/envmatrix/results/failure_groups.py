"""Failures that share a cause, grouped over cells. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from envmatrix.matrix.cells import AXES, OMITTED, parse_cell
from envmatrix.records import dataclass
from envmatrix.results.queries import grouped
from envmatrix.results.summary import Failure, Origin
from envmatrix.results.waivers import Waiver

# The most characters of a message that are compared.
_COMPARED = 200
_MAJOR = "cuda major"
_AXIS_NAMES = {"cuda": "CUDA", _MAJOR: "CUDA", "cudnn": "cuDNN"}
# What differs between the messages of one cause.
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failures of one test of a library with the same message and waiver, by cell."""

    failures: tuple[Failure, ...]

    @property
    def library(self) -> str:
        return self.failures[0].library

    @property
    def name(self) -> str:
        return self.failures[0].name

    @property
    def message(self) -> str:
        return first_line(self.failures[0].message)

    @property
    def waiver(self) -> Waiver | None:
        return self.failures[0].waiver

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(failure.cell for failure in self.failures)

    @property
    def first(self) -> Failure:
        """The failure that began first; the first of all if no origin is known."""
        traced = [failure for failure in self.failures if failure.origin]
        return min(traced or self.failures[:1], key=lambda item: _began(item.origin))


def group_failures(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """Return the groups of failures, those of most cells first."""
    keyed = grouped((_cause(failure), failure) for failure in failures)
    groups = [FailureGroup(tuple(group)) for group in keyed.values()]
    return tuple(
        sorted(groups, key=lambda item: (-len(item.cells), item.library, item.name, item.message))
    )


def _cause(failure: Failure) -> tuple[str, str, str, str, Waiver | None]:
    """Return what failures of one cause have in common. Their messages differ in the names of their
    cells and in addresses."""
    message = _ADDRESS.sub("0x", first_line(failure.message).replace(failure.cell, ""))
    return failure.library, failure.name, failure.state, message, failure.waiver


def first_line(message: str) -> str:
    return message.strip().partition("\n")[0][:_COMPARED]


def _began(origin: Origin | None) -> float:
    if origin is None:
        return 0.0
    return origin.first_bad.revision.committed or origin.first_bad.started


def extent_text(cells: Sequence[str], tested: Collection[str]) -> str:
    """Describe which of the tested cells have a failure: by name if it is one, otherwise by the
    values of axes that they share, and that not all tested cells have."""
    if len(cells) == 1:
        return cells[0]
    matching = [axes_of(cell) for cell in tested]
    shared: list[str] = []
    for axis, value in _shared_values([axes_of(cell) for cell in cells]).items():
        if any(axes.get(axis) != value for axes in matching):
            shared.append(axis_text(axis, value))
            matching = [axes for axes in matching if axes.get(axis) == value]
    count = (
        f"all {len(cells)}" if len(cells) == len(matching) else f"{len(cells)} of {len(matching)}"
    )
    return f"{count} cells" + (f" with {', '.join(shared)}" if shared else "")


def axes_of(cell: str) -> Mapping[str, str]:
    """Return the values of a cell by axis, and the major of its CUDA; none for an id that is not
    well-formed."""
    candidate = parse_cell(cell)
    if candidate is None:
        return {}
    values = {axis: getattr(candidate, axis) or "" for axis in AXES}
    return {**values, _MAJOR: candidate.cuda.partition(".")[0]}


def axis_text(axis: str, value: str) -> str:
    if axis == "compiler":
        return value or "the default compiler"
    if axis == "python":
        return f"Python {value}" if value else "the default Python"
    if axis == "cuda_compiler":
        return f"CUDA compiled by {value or OMITTED[axis]}"
    name = _AXIS_NAMES.get(axis)
    if name is None:
        return value
    return f"{name} {value}" if value else f"no {name}"


def _shared_values(cells: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Return the values that all cells have."""
    return {
        axis: value
        for axis, value in cells[0].items()
        if all(axes.get(axis) == value for axes in cells)
    }
