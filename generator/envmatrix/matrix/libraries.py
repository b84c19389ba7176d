"""The libraries of a matrix: what their entries mean, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envmatrix.errors import NothingSelected, Position, Problem
from envmatrix.matrix import model
from envmatrix.matrix.checks import Source, component_problems
from envmatrix.matrix.document import Location
from envmatrix.matrix.model import (
    OF_PROGRAMS,
    TEXTS,
    Library,
    LibraryBuild,
    LibrarySource,
    Matrix,
)
from envmatrix.matrix.scalars import file_glob
from envmatrix.matrix.schema import SOURCE_KINDS, LibraryEntry, LibraryTest, Table
from envmatrix.matrix.selection import select
from envmatrix.matrix.suggest import did_you_mean
from envmatrix.text import redacted

# In bytes. Linux takes 131,071 of an argument or a variable, of which some are for what we put
# before it. They are counted as UTF-8, which JSON Schema cannot.
_LONGEST_TEXT = 131_000


def libraries(source: Source) -> tuple[Library, ...]:
    """The libraries of a file, by name."""
    return tuple(
        library(name, entry, source.document.position("libraries", name, "path"))
        for name, entry in sorted(source.contents.libraries.items())
    )


def library(name: str, entry: LibraryEntry, position: Position | None = None) -> Library:
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
        chooses_sm=entry.sm == "own",
        trust=entry.trust,
        shm=int(entry.shm) if entry.shm else None,
        position=position,
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
        yield from _place_problems(entry, source, location)
        yield from _url_problems(name, entry, source, (*location, "source"))
        if entry.test:
            yield from _test_problems(entry.test, source, (*location, "test"))
        yield from _requirement_problems(entry, source, location)
        yield from _length_problems(library(name, entry).compiled_for(matrix.sm), source, location)
        try:
            select(matrix, entry.cells or ())
        except NothingSelected as error:
            yield Problem(error.message, source.document.position(*location, "cells"), error.hint)


def _place_problems(entry: LibraryEntry, source: Source, location: Location) -> Iterator[Problem]:
    os = entry.source.suite if entry.source else None
    known = [name for name, its in source.facts.os.items() if its.family.name == "deb"]
    if os and os not in known:
        where = source.document.position(*location, "source", "suite")
        hint = did_you_mean(os, known) or f"these have: {', '.join(known)}"
        yield Problem(f"`{os}` has no source packages", where, hint)


def _url_problems(
    name: str, entry: LibraryEntry, source: Source, location: Location
) -> Iterator[Problem]:
    """The lock and whatever is made of it repeat a URL, so it has no secrets."""
    for kind in ("git", "archive", "revision"):
        given = getattr(entry.source, kind, None) or ""
        where = source.document.position(*location, kind)
        if redacted(given) != given:
            hint = "take it out: git's credential helpers and ~/.netrc have logins"
            yield Problem(f"the URL of library `{name}` holds a password or a token", where, hint)
        elif not given.isprintable() or given.startswith("-"):
            yield Problem(f"`{kind}` of library `{name}` has characters that it cannot have", where)


def _test_problems(test: LibraryTest, source: Source, location: Location) -> Iterator[Problem]:
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


def _length_problems(its: Library, source: Source, location: Location) -> Iterator[Problem]:
    """What is too long for a program once the GPU architectures are written in it."""
    for table, said in (("build", its.build), ("test", its.test)):
        for place, text in _texts(said):
            size = len(text.encode())
            if size > _LONGEST_TEXT:
                message = (
                    f"`{table}.{place[0]}` of library `{its.name}` has a text of {size} bytes; "
                    f"programs take at most {_LONGEST_TEXT} in one piece"
                )
                hint = "write it into a file of the library"
                yield Problem(message, source.document.position(*location, table, *place), hint)


def _texts(said: LibraryBuild | model.LibraryTest | None) -> Iterator[tuple[Location, str]]:
    """Return what a table hands to programs, each with its place in the table."""
    if said is None:
        return
    for key in TEXTS:
        texts: Sequence[str] = getattr(said, key, ())
        yield from (((key, index), text) for index, text in enumerate(texts))
    for name, value in said.environment.items():
        yield ("environment", name), f"{name}={value}"
    if isinstance(said, LibraryBuild) and said.preset:
        yield ("preset",), said.preset


def _requirement_problem(text: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"`{text}` is no requirement"
    return f"`{text}` says where it is: it has to be in the index" if requirement.url else None
