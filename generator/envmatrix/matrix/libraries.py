"""The libraries of a matrix: what their entries mean, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envmatrix.errors import NothingSelected, Problem
from envmatrix.matrix import model
from envmatrix.matrix.checks import Source, component_problems
from envmatrix.matrix.document import Location
from envmatrix.matrix.model import (
    OF_PROGRAMS,
    Library,
    LibraryBuild,
    LibrarySource,
    Matrix,
)
from envmatrix.matrix.schema import SOURCE_KINDS, LibraryEntry, LibraryTest, Table, file_glob
from envmatrix.matrix.selection import select
from envmatrix.matrix.suggest import did_you_mean

# Frameworks that do not find the tests themselves.
_NEEDS_RUN = {"googletest", "catch2", "commands"}


def library(name: str, entry: LibraryEntry) -> Library:
    return Library(
        name,
        entry.path or ".",
        _source(entry),
        LibraryBuild(**_given(entry.build, "job_memory", "timeout")),
        model.LibraryTest(**_given(entry.test, "retries", "timeout")) if entry.test else None,
        entry.benchmark,
        entry.artifacts,
        entry.components,
        entry.cells or (),
        entry.cuda,
    )


def _source(entry: LibraryEntry) -> LibrarySource | None:
    for kind, which in SOURCE_KINDS.items():
        if entry.source and getattr(entry.source, kind):
            return LibrarySource(kind, getattr(entry.source, kind), getattr(entry.source, which))
    return None


def _given(entry: Table, *numbers: str) -> dict[str, Any]:
    """What an entry says, its numbers as such; what it does not say has a default in the model."""
    said = {key: value for key, value in dict(entry).items() if value is not None}
    return {key: int(value) if key in numbers else value for key, value in said.items()}


def problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for name, entry in source.contents.libraries.items():
        location = ("libraries", name)
        components = (*location, "components")
        yield from component_problems(entry.components, source.document, components, source.facts)
        if entry.cuda == "none" and entry.components:
            message = f"library `{name}` needs no CUDA, and has `components` of it"
            yield Problem(message, source.document.position(*components))
        yield from _place_problems(name, entry, source, location)
        yield from _build_problems(name, entry, source, location)
        yield from _requirement_problems(entry, source, location)
        try:
            select(matrix, entry.cells or ())
        except NothingSelected as error:
            yield Problem(error.message, source.document.position(*location, "cells"), error.hint)


def _place_problems(
    name: str, entry: LibraryEntry, source: Source, location: Location
) -> Iterator[Problem]:
    if entry.path is None and entry.source is None:
        hint = "give the `path` of it in the repository, or its `source`"
        where = source.document.key_position(*location)
        yield Problem(f"nothing says where library `{name}` is", where, hint)
    os = entry.source.suite if entry.source else None
    known = [name for name, its in source.facts.os.items() if its.family.name == "deb"]
    if os and os not in known:
        where = source.document.position(*location, "source", "suite")
        hint = did_you_mean(os, known) or f"these have: {', '.join(known)}"
        yield Problem(f"`{os}` has no source packages", where, hint)


def _build_problems(
    name: str, entry: LibraryEntry, source: Source, location: Location
) -> Iterator[Problem]:
    key, build, test = source.document.key_position, entry.build, entry.test
    if build.preset and build.system != "cmake":
        message = f"a `preset` is CMake's, and `{name}` is built with `{build.system}`"
        yield Problem(message, key(*location, "build", "preset"))
    if (build.system == "script") != bool(build.commands):
        message = f"`build.commands` are what the system `script` runs: `{name}`"
        yield Problem(message, key(*location, "build"))
    if test:
        yield from _test_problems(name, test, source, (*location, "test"))


def _test_problems(
    name: str, test: LibraryTest, source: Source, location: Location
) -> Iterator[Problem]:
    key = source.document.key_position
    if test.framework in _NEEDS_RUN and not test.run:
        message = f"`{test.framework}` needs `run`: what to run to test `{name}`"
        yield Problem(message, key(*location, "framework"))
    if test.framework == "none":
        for given in sorted(test.model_fields_set - {"framework"}):
            message = f"library `{name}` has no tests, so `{given}` means nothing"
            yield Problem(message, key(*location, given), "write `test: none` alone")
    for index, pattern in enumerate(test.run if test.framework in OF_PROGRAMS else ()):
        try:
            file_glob(pattern)
        except ValueError as error:
            where = source.document.position(*location, "run", index)
            hint = "name test programs by their place in the build directory: `tests/*_test`"
            yield Problem(f"`{pattern}` {error}", where, hint)


def _requirement_problems(
    entry: LibraryEntry, source: Source, location: Location
) -> Iterator[Problem]:
    tables = {"build": entry.build.requires, "test": entry.test.requires if entry.test else ()}
    for table, requires in tables.items():
        for index, text in enumerate(requires):
            if message := _requirement_problem(text):
                where = source.document.position(*location, table, "requires", index)
                yield Problem(message, where, "write for example `pytest>=8`")


def _requirement_problem(text: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"`{text}` is no requirement"
    return f"`{text}` says where it is: it has to be in the index" if requirement.url else None
