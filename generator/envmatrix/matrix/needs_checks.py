"""Checks of what libraries need of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envmatrix.documents import Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.checks import Source
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.needs import variant_for
from envmatrix.matrix.selection import library_verdicts, select
from envmatrix.suggestions import did_you_mean
from envmatrix.text import number_of

# Build systems that have no command of their own to install.
WITHOUT_INSTALLATION = ("bazel", "script")
# Names at each end of a long chain that messages have.
_MOST_OF_AN_END = 4


def needs_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    wrong = [*_name_problems(source, matrix)] or [*_cycle_problems(source, matrix)]
    yield from wrong
    yield from _installation_problems(source, matrix)
    if wrong:
        return
    refusals = _refusals(matrix)
    for library in matrix.libraries:
        location = ("libraries", library.name, "needs")
        yield from _conflicts(library, source, matrix, location)
        for index, name in enumerate(library.needs):
            if name in matrix.declared:
                for message, hint in _absences(library, name, matrix, refusals):
                    yield source.problem(message, (*location, index), hint)


def _name_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for library in matrix.libraries:
        location = ("libraries", library.name, "needs")
        for index, name in enumerate(library.needs):
            # A library with another problem is not in the matrix, and may be the one.
            if name in matrix.declared or source.document.problems:
                continue
            others = [other for other in matrix.declared if other != library.name]
            hint = did_you_mean(name, others) or _listed(others)
            yield source.problem(f"there is no library `{name}`", (*location, index), hint)


def _listed(names: Sequence[str]) -> str:
    return f"there are {', '.join(f'`{name}`' for name in names)}" if names else "there is no other"


def _cycle_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield each cycle of libraries that need each other, at the first one of them."""
    for library in matrix.libraries:
        if cycle := _cycle(library.name, matrix.declared):
            names = (*cycle, library.name)
            place = ("libraries", library.name, "needs", library.needs.index(names[1]))
            hint = "take out one of them: a library is compiled after all that it needs"
            yield source.problem(f"libraries need each other: {_path(names)}", place, hint)


def _cycle(start: str, declared: Mapping[str, Library]) -> tuple[str, ...]:
    """Return the shortest chain of needs from a library back to itself in which it is the first by
    name, empty if there is none."""
    users = {start: start}
    queue = [start]
    for name in queue:
        for need in declared[name].needs if name in declared else ():
            if need == start:
                chain = [name]
                while chain[-1] != start:
                    chain.append(users[chain[-1]])
                return tuple(reversed(chain))
            if need > start and need not in users:
                users[need] = name
                queue.append(need)
    return ()


def _path(names: Sequence[str]) -> str:
    """Return a chain of needs in words, without the middle of a long one."""
    words = [f"`{name}`" for name in names]
    if left_out := max(0, len(words) - 2 * _MOST_OF_AN_END):
        words[_MOST_OF_AN_END:-_MOST_OF_AN_END] = [f"... ({left_out} more) ..."]
    return " needs ".join(words)


def _installation_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield needed libraries that nothing installs."""
    for needed in matrix.libraries:
        users = [each.name for each in matrix.libraries if needed.name in each.needs]
        system = needed.build.system
        if users and system in WITHOUT_INSTALLATION and not needed.build.install:
            message = f"`{users[0]}` needs `{needed.name}`, and system `{system}` installs nothing"
            position = source.document.key_position("libraries", needed.name, "build")
            hint = "give `install` in `build`: commands that install into the directory $PREFIX"
            yield Problem(message, position, hint)


def _conflicts(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield the first library of which a variant would get two variants."""
    for variant in matrix.variants_of[library.name]:
        names: dict[str, str] = {}
        for need in matrix.needs_of(variant):
            other = names.setdefault(need.declared_name, need.name)
            if other != need.name:
                message = f"`{variant.name}` would get both `{other}` and `{need.name}`"
                hint = "give all libraries between them the same `variants`"
                yield source.problem(message, location, hint)
                return


def _absences(
    library: Library, name: str, matrix: Matrix, refusals: Mapping[str, Sequence[str | None]]
) -> Iterator[tuple[str, str]]:
    """Yield for a needed library that is not for all cells of the one that needs it a message and a
    hint."""
    rows = [
        (variant, need, cell, reason)
        for variant in matrix.variants_of[library.name]
        for need in [variant_for(variant.variant, matrix.variants_of[name])]
        for cell, own, reason in zip(
            matrix.cells, refusals[variant.name], refusals[need.name], strict=True
        )
        if own is None and reason is not None
    ]
    if not rows:
        return
    variant, need, cell, reason = rows[0]
    others = len({row[2] for row in rows}) - 1
    more = f" and {number_of(others, 'more cell')}" if others else ""
    message = f"`{variant.name}` needs `{need.name}`, which is not for `{cell.id}`{more}: {reason}"
    yield message, f"let `{need.name}` be for these cells as well, or `{variant.name}` for fewer"


def _refusals(matrix: Matrix) -> Mapping[str, Sequence[str | None]]:
    """Return for each variant of libraries that need others, or that others need, why it is not for
    each of the cells; nothing for those whose `cells` are wrong."""
    needed = {name for library in matrix.libraries for name in library.needs}
    return {
        variant.name: [
            _refusal(variant, cell, matrix) if has_cells else None for cell in matrix.cells
        ]
        for library in matrix.libraries
        if library.needs or library.name in needed
        for has_cells in [_has_cells(library, matrix)]
        for variant in matrix.variants_of[library.name]
    }


def _has_cells(library: Library, matrix: Matrix) -> bool:
    try:
        return bool(select(matrix, library.cells))
    except NothingSelected:
        return False


def _refusal(library: Library, cell: Cell, matrix: Matrix) -> str | None:
    """Return why a library is not for a cell; None if it is."""
    verdicts = library_verdicts(library, cell, matrix)
    return next((row.explanation for row in verdicts if not row.passed), None)
