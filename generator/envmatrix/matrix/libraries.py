"""The libraries of a matrix: parsing and checks of their entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envmatrix.documents import Location
from envmatrix.errors import NothingSelected, Position, Problem
from envmatrix.matrix import model
from envmatrix.matrix.checks import Source, component_problems
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
from envmatrix.suggestions import did_you_mean
from envmatrix.text import redacted

# In bytes of UTF-8, which JSON Schema cannot count. Linux limits an argument or a variable to
# 131,071, of which some are for what we put before it.
_LONGEST_TEXT = 131_000


def parse_libraries(source: Source) -> tuple[Library, ...]:
    """Return the libraries of a file, sorted by name."""
    return tuple(
        parse_library(name, entry, source.document.position("libraries", name, "path"))
        for name, entry in sorted(source.contents.libraries.items())
    )


def parse_library(name: str, entry: LibraryEntry, position: Position | None = None) -> Library:
    return Library(
        name,
        entry.path or ".",
        _source(entry),
        LibraryBuild(**_options(entry.build, "job_memory", "timeout")),
        model.LibraryTest(**_options(entry.test, "retries", "timeout")) if entry.test else None,
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
    for kind, version in SOURCE_KINDS.items():
        if entry.source and getattr(entry.source, kind):
            return LibrarySource(kind, getattr(entry.source, kind), getattr(entry.source, version))
    return None


def _options(entry: Table, *numbers: str) -> dict[str, Any]:
    """Return the options that an entry sets, `numbers` as int; the model has defaults for
    others."""
    options = {key: value for key, value in dict(entry).items() if value is not None}
    return {key: int(value) if key in numbers else value for key, value in options.items()}


def library_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for name, entry in source.contents.libraries.items():
        location = ("libraries", name)
        components = (*location, "components")
        yield from component_problems(entry.components, source.document, components, source.facts)
        yield from _suite_problems(entry, source, location)
        yield from _url_problems(name, entry, source, (*location, "source"))
        if entry.test:
            yield from _test_problems(entry.test, source, (*location, "test"))
        yield from _requirement_problems(entry, source, location)
        yield from _length_problems(parse_library(name, entry).with_sm(matrix.sm), source, location)
        try:
            select(matrix, entry.cells or ())
        except NothingSelected as error:
            yield Problem(error.message, source.document.position(*location, "cells"), error.hint)


def _suite_problems(entry: LibraryEntry, source: Source, location: Location) -> Iterator[Problem]:
    os = entry.source.suite if entry.source else None
    suites = [name for name, row in source.facts.os.items() if row.family.name == "deb"]
    if os and os not in suites:
        where = source.document.position(*location, "source", "suite")
        hint = did_you_mean(os, suites) or f"these have: {', '.join(suites)}"
        yield Problem(f"`{os}` has no source packages", where, hint)


def _url_problems(
    name: str, entry: LibraryEntry, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield URLs with secrets: the lock and the images repeat them."""
    for kind in ("git", "archive", "revision"):
        text = getattr(entry.source, kind, None) or ""
        where = source.document.position(*location, kind)
        if redacted(text) != text:
            hint = "take it out: git's credential helpers and ~/.netrc have logins"
            yield Problem(f"the URL of library `{name}` holds a password or a token", where, hint)
        elif not text.isprintable() or text.startswith("-"):
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


def _length_problems(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    """Yield texts too long for an argument or a variable, after GPU architectures are filled in."""
    for table, options in (("build", library.build), ("test", library.test)):
        for place, text in _texts(options):
            size = len(text.encode())
            if size > _LONGEST_TEXT:
                message = (
                    f"`{table}.{place[0]}` of library `{library.name}` has a text of {size} bytes; "
                    f"programs take at most {_LONGEST_TEXT} in one piece"
                )
                hint = "write it into a file of the library"
                yield Problem(message, source.document.position(*location, table, *place), hint)


def _texts(options: LibraryBuild | model.LibraryTest | None) -> Iterator[tuple[Location, str]]:
    """Yield the texts of a table that are passed to programs, each with its place in the table."""
    if options is None:
        return
    for key in TEXTS:
        texts: Sequence[str] = getattr(options, key, ())
        yield from (((key, index), text) for index, text in enumerate(texts))
    for name, value in options.environment.items():
        yield ("environment", name), f"{name}={value}"
    if isinstance(options, LibraryBuild) and options.preset:
        yield ("preset",), options.preset


def _requirement_problem(text: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"`{text}` is not a valid requirement"
    return f"`{text}` says where it is: it has to be in the index" if requirement.url else None
