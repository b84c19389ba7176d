"""Checks of the sizes of what a matrix file is expanded to, before it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import prod

from envmatrix.documents import Location
from envmatrix.errors import Problem
from envmatrix.matrix.cells import AXES
from envmatrix.matrix.checks import Source
from envmatrix.matrix.variants import Variants
from envmatrix.schema.decoding import dotted

# Far above real matrices, and expanded within seconds: combinations of values of axes, variants of
# all libraries, and combinations of both.
_MOST_COMBINATIONS, _MOST_VARIANTS, _MOST_PAIRS = 100_000, 10_000, 5_000_000

_Counts = Mapping[Location, int]


def size_problems(source: Source) -> Iterator[Problem]:
    """Yield lists that mean more combinations than can be expanded."""
    contents = source.contents
    axes = {axis: source.values(axis) for axis in AXES}
    excluded = (
        {axis: getattr(row, axis) or axes[axis] for axis in AXES} for row in contents.exclude
    )
    # Only the systems of an entry without any are all of the axis.
    listed = (
        {axis: getattr(row, axis) or (axes[axis] if axis == "os" else ()) for axis in AXES}
        for row in contents.runs
    )
    cells: _Counts = {("axes",): _count(axes)}
    runs: _Counts = {("runs", index): _count(values) for index, values in enumerate(listed)}
    variants: _Counts = {
        ("libraries", library.name, "variants"): _count_variants(library.variants)
        for library in contents.libraries.values()
    }
    excludes: _Counts = {
        ("exclude", index): _count(values) for index, values in enumerate(excluded)
    }
    problems = [
        problem
        for counts in (cells, excludes, runs)
        for problem in _first_over(source, counts, "combinations", _MOST_COMBINATIONS)
    ]
    problems += _first_over(source, variants, "variants", _MOST_VARIANTS)
    yield from problems
    pairs = sum((runs or cells).values()) * sum(variants.values())
    if not problems and pairs > _MOST_PAIRS:
        message = f"there are {pairs} variants of libraries in cells, and at most {_MOST_PAIRS}"
        yield Problem(f"{message} can be planned", source.document.key_position("libraries"))


def _count(values: Mapping[str, Collection[str]]) -> int:
    return prod(max(1, len({*row})) for row in values.values())


def _count_variants(variants: Variants) -> int:
    lists = [(variants.std, variants.build_type, variants.sanitizer)]
    lists += [(row.std, row.build_type, row.sanitizer) for row in variants.named.values()]
    return sum(prod(max(1, len(values)) for values in row) for row in lists)


def _first_over(source: Source, counts: _Counts, noun: str, most: int) -> Iterator[Problem]:
    """Yield the first entry with which there are more than can be expanded."""
    total = 0
    for location, count in counts.items():
        total += count
        if total > most:
            message = f"with `{dotted(location)}` there are {total} {noun}, and at most {most}"
            position = source.document.key_position(*location)
            yield Problem(f"{message} can be expanded", position)
            return
