"""Checks of the libraries of a matrix file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from envmatrix.documents import Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.facts.targets import TARGETS
from envmatrix.matrix.checks import Source, component_problems
from envmatrix.matrix.flavours import placeholder_problems
from envmatrix.matrix.library import (
    ARCHIVE,
    LIKE_ARCHIVE,
    NATIVE,
    OF_PROGRAMS,
    PLATFORMS,
    TEXTS,
    Library,
    LibraryBuild,
    LibrarySource,
    LibraryStep,
    LibraryTest,
    platform_minor,
)
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.option_rules import (
    COMPILERS,
    compiler_variable,
    is_of_installation,
    is_own,
    set_name,
    set_value,
)
from envmatrix.matrix.other_names import suggest_name
from envmatrix.matrix.python_versions import is_python_of, systems_with
from envmatrix.matrix.pythons import python_of
from envmatrix.matrix.scalars import file_glob
from envmatrix.matrix.selection import is_for, select
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line, redacted

# In bytes of UTF-8, which JSON Schema cannot count. Linux limits an argument or a variable to
# 131,071, of which some are for what we put before it.
_LONGEST_TEXT = 131_000


def library_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for library in source.contents.libraries.values():
        location = ("libraries", library.name)
        components = (*location, "components")
        yield from component_problems(library.components, source.document, components, source.facts)
        if library.source:
            yield from _source_problems(library.source, library, source, (*location, "source"))
        yield from _archive_problems(library, source, (*location, "archives"))
        yield from _package_problems(library, source, (*location, "packages"))
        if library.test:
            yield from _test_problems(library.test, source, (*location, "test"))
        yield from _python_problems(library, source, matrix, location)
        yield from _wheel_problems(library, source, location)
        yield from _platform_problems(library, source, matrix, location)
        yield from _length_problems(library.with_sm(matrix.sm), source, location)
        yield from _own_problems(library, source, matrix, location)
        try:
            select(matrix, library.cells)
        except NothingSelected as error:
            yield source.problem(error.message, (*location, "cells"), error.hint)
        else:
            yield from _undeclared_packages(library, matrix, source, (*location, "packages"))
            with suppress(NothingSelected):  # of a variant, whose own check tells
                yield from [*_replaced_compilers(library, source, matrix, location)]
    yield from _target_problems(matrix)


def _target_problems(matrix: Matrix) -> Iterator[Problem]:
    """Yield targets that no library of the matrix can be compiled for."""
    for arch, cell in {cell.arch: cell for cell in matrix.cells}.items():
        if matrix.libraries and not any(library.suits(arch) for library in matrix.libraries):
            message = f"no library can be compiled for `{arch}`: {TARGETS[arch].host_only}"
            hint = "say `cuda: none` of a library that needs no CUDA"
            yield Problem(message, cell.position, hint)


def _source_problems(
    declared: LibrarySource, library: Library, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield suites without source packages, and URLs with secrets: the lock and the images repeat
    them."""
    suite = declared.suite
    suites = [name for name, row in source.facts.os.items() if row.family.name == "deb"]
    if suite and suite not in suites:
        hint = did_you_mean(suite, suites) or f"these have: {', '.join(suites)}"
        yield source.problem(f"`{suite}` has no source packages", (*location, "suite"), hint)
    for kind in ("git", "archive", "revision"):
        text = getattr(declared, kind) or ""
        if redacted(text) != text:
            message = f"the URL of library `{library.name}` holds a password or a token"
            hint = "take it out: git's credential helpers and ~/.netrc have logins"
            yield source.problem(message, (*location, kind), hint)
        elif not text.isprintable() or text.startswith("-"):
            message = f"`{kind}` of library `{library.name}` has characters that it cannot have"
            yield source.problem(message, (*location, kind))


def _archive_problems(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    """Yield problems of archives, names that CMake takes for the same, and placeholders of archives
    that are not there."""
    names: dict[str, str] = {}
    for name, declared in library.archives.items():
        yield from _source_problems(declared, library, source, (*location, name))
        if (first := names.setdefault(name.upper(), name)) != name:
            message = f"archives `{first}` and `{name}` are the same for CMake, in capital letters"
            yield Problem(message, source.document.key_position(*location, name))
    for place, text in _all_texts(library):
        for name in ARCHIVE.findall(text):
            if name not in library.archives:
                message = f"library `{library.name}` has no archive `{one_line(name)}`"
                hint = did_you_mean(name, library.archives) or "list it under its `archives`"
                yield source.problem(message, (*location[:-1], *place), hint)
        for word in LIKE_ARCHIVE.findall(text):
            if not ARCHIVE.fullmatch(word):
                message = f"`{one_line(word)}` is no placeholder"
                hint = "that of an archive is `{archive:NAME}`"
                yield source.problem(message, (*location[:-1], *place), hint)


def _all_texts(library: Library) -> Iterator[tuple[Location, str]]:
    """Yield the texts of a library, and of its named variants, with their places."""
    for table, options in _tables(library):
        yield from (((*table, *place), text) for place, text in _texts(options))
    for name, entry in library.variants.named.items():
        place = ("variants", "named", name)
        yield from (((*place, "options", row), text) for row, text in enumerate(entry.options))
        for key in ("definitions", "environment"):
            values = getattr(entry, key).items()
            yield from (((*place, key, word), f"{word}={value}") for word, value in values)


def _package_problems(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    packages = library.packages
    for system in packages.systems.keys() - source.facts.os.keys():
        position = source.document.key_position(*location, "systems", system)
        hint = suggest_name(system) or did_you_mean(system, source.facts.os)
        yield Problem(f"unknown operating system `{system}`", position, hint)
    lists: dict[Location, Sequence[str]] = {
        (family,): getattr(packages, family) or () for family in ("deb", "rpm", "zypper")
    }
    lists |= {("systems", name): names for name, names in packages.systems.items()}
    for place, names in lists.items():
        for index, name in enumerate(names):
            position = source.document.position(*location, *place, index)
            yield from placeholder_problems(name.removesuffix(NATIVE), position)


def _undeclared_packages(
    library: Library, matrix: Matrix, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield the families of cells for which a library with packages does not say which, and targets
    that no archive has packages for."""
    packages, problems = library.packages, dict[str, Problem]()
    for cell in matrix.cells if packages else ():
        if not is_for(library, cell, matrix):
            continue
        os = matrix.facts.os[cell.os]
        subject = f"library `{library.name}` has packages"
        position = source.document.key_position(*location)
        if not packages.has(os):
            family = os.family.name
            message = f"{subject}, and none of the family `{family}` for `{cell.id}`"
            hint = f"name them: `{family}: [...]`, without any if it needs none there"
            problems.setdefault(family, Problem(message, position, hint))
        names = (name for name in packages.packages_of(os) if not name.endswith(NATIVE))
        if not TARGETS[cell.arch].has_packages and (name := next(names, None)):
            message = f"{subject}, and `{os.name}` has none for `{cell.arch}` of `{cell.id}`"
            hint = f"leave out these cells: `cells`; programs of the build are `{name}{NATIVE}`"
            problems.setdefault(f"target {cell.arch}", Problem(message, position, hint))
    yield from problems.values()


def _test_problems(test: LibraryTest, source: Source, location: Location) -> Iterator[Problem]:
    for index, pattern in enumerate(test.run if test.framework in OF_PROGRAMS else ()):
        try:
            file_glob(pattern)
        except ValueError as error:
            hint = "name test programs by their place in the build directory: `tests/*_test`"
            message = f"`{one_line(pattern)}` {error}"
            yield source.problem(message, (*location, "run", index), hint)


def _python_problems(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield releases of Python that no cell of the matrix has."""
    if library.python is None or any(
        release and is_python_of(library, release)
        for release in {python_of(cell, source.facts) for cell in matrix.cells}
    ):
        return
    releases = {cell.os: source.facts.os[cell.os].python for cell in matrix.cells}
    rows = (f"`{os}` has {releases[os] or 'an unknown one'}" for os in sorted(releases))
    message = f"no cell has Python {library.python}: {', '.join(rows)}"
    others = systems_with(library, source.facts)
    hint = f"of other operating systems, {others}" if others else None
    yield source.problem(message, (*location, "python"), hint)


def _wheel_problems(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    if library.image_provides and not library.requires:
        message = f"library `{library.name}` requires no wheels, so `image_provides` has no effect"
        yield source.problem(message, (*location, "image_provides"))
    for table, options in _tables(library):
        for index, text in enumerate(options.requires):
            if complaint := _requirement_complaint(text):
                place = (*location, *table, "requires", index)
                hint = "write for example `pytest>=8`"
                yield source.problem(f"`{one_line(text)}` {complaint}", place, hint)


def _platform_problems(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield cells whose wheels cannot have the platform that a library asks for."""
    wheels, place = library.build.wheels, (*location, "build", "wheels")
    cells = [cell for cell in matrix.cells if wheels and is_for(library, cell, matrix)]
    for cell in {(cell.os, cell.arch): cell for cell in reversed(cells)}.values():
        glibc = source.facts.os[cell.os].glibc
        requested = platform_minor(wheels.platform) if wheels else 0
        target = TARGETS[cell.arch]
        if target.system != "Linux" or target.machine is None:
            message = f"`{cell.arch}` has no wheels of manylinux, as `{cell.id}` would make"
            yield source.problem(message, place, "say in `cells` which cells the library is for")
        elif requested > int(glibc.partition(".")[2]):
            suitable = [name for name in PLATFORMS if platform_minor(name) <= int(glibc[2:])]
            message = (
                f"wheels of glibc 2.{requested} would not run in `{cell.id}`, which has {glibc}"
            )
            hint = f"the newest platform for it is `{suitable[-1]}`" if suitable else None
            yield source.problem(message, place, hint)


def _requirement_complaint(text: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        url = Requirement(text).url
    except InvalidRequirement:
        return "is not a valid requirement"
    return "says where it is: it has to be in the index" if url else None


def _length_problems(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    """Yield texts too long for an argument or a variable, after GPU architectures are filled in."""
    for table, options in _tables(library):
        for place, text in _texts(options):
            subject = f"{'.'.join(table)}.{place[0]}"
            yield from text_problems(text, subject, source, (*location, *table, *place))


def _replaced_compilers(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield variables and options that name other compilers than those of cells, or of an SDK."""
    for place, text in _all_texts(library):
        if variable := _compiler_variable(place, text, library.build.system):
            named = place[2] if place[0] == "variants" else None
            variants = [
                row
                for row in matrix.variants_of[library.name]
                if named in (None, row.variant.named)
            ]
            if replaced := _replaced_by(variable, set_value(text), variants, matrix):
                quoted = one_line(text) if place[-2] == "options" else place[-1]
                message = f"`{quoted}` replaces the compiler of {replaced}"
                position = source.document.key_position(*location, *place)
                hint = "leave it out: images have variables with the compilers of their cells"
                yield Problem(message, position, hint)


def _compiler_variable(place: Location, text: str, system: str) -> str | None:
    """Return the variable of the compiler that a text of a library names; None of those that are
    refused whatever they name."""
    if place[-2] == "environment":
        name = set_name(text)
        return name if name in COMPILERS else None
    if not _is_of_build(place) or (place[0] == "variants" and is_own(text, system)):
        return None
    return compiler_variable(text, system)


def _is_of_build(place: Location) -> bool:
    """Return whether a text is an option or a definition of the build system."""
    return place[0] in ("build", "variants") and place[-2] in ("options", "definitions")


def _own_problems(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield what a build sets that envmatrix sets as well; variants have checks of their own."""
    system, is_installed = library.build.system, library.name in matrix.installed
    for place, text in _all_texts(library):
        quoted = one_line(text) if place[-2] == "options" else place[-1]
        position = source.document.key_position(*location, *place)
        is_variable = place[:2] == ("build", "environment")
        of_library = place[:2] == ("build", "options") and not compiler_variable(text, system)
        if (is_variable and is_own(text, "cmake")) or (of_library and is_own(text, system)):
            yield Problem(
                f"`{quoted}` sets what envmatrix sets for the cell", position, "leave it out"
            )
        elif is_installed and _is_of_build(place) and is_of_installation(text, system):
            message = f"`{quoted}` sets where library `{library.name}` is installed"
            yield Problem(message, position, "leave it out: others find it where envmatrix puts it")


def _replaced_by(
    variable: str, value: str, variants: Sequence[Library], matrix: Matrix
) -> str | None:
    """Return what says the compiler that a variable names as well: the SDK of a variant, or a cell
    with others than the default ones."""
    for variant in variants:
        sdk = matrix.facts.sdks.get(variant.variant.sdk or "")
        if sdk and variable in sdk.variables:
            return f"`sdk: {sdk.name}`"
    program, axis = value.partition(" ")[0], COMPILERS[variable]
    for cell in matrix.cells:
        usual = ("cc", "c++", *(("gcc", "g++") if cell.host_compiler.kind == "gcc" else ()))
        is_other = getattr(cell, axis) and program not in usual
        if is_other and any(is_for(variant, cell, matrix) for variant in variants):
            return f"`{cell.id}`"
    return None


def _tables(
    library: Library,
) -> Iterator[tuple[tuple[str, ...], LibraryBuild | LibraryTest | LibraryStep]]:
    """Yield what is passed to programs of a library, each with its keys."""
    yield ("build",), library.build
    if library.test:
        yield ("test",), library.test
    yield from ((("steps", name), step) for name, step in library.steps.items())


def text_problems(text: str, subject: str, source: Source, location: Location) -> Iterator[Problem]:
    """Yield a text of a library if it is too long to be passed to programs."""
    size = len(text.encode())
    if size > _LONGEST_TEXT:
        message = (
            f"`{subject}` of library `{location[1]}` has a text of {size} bytes; "
            f"programs take at most {_LONGEST_TEXT} in one piece"
        )
        yield source.problem(message, location, "write it into a file of the library")


def _texts(
    options: LibraryBuild | LibraryTest | LibraryStep,
) -> Iterator[tuple[Location, str]]:
    """Yield the texts of a table that are passed to programs, each with its place in the table."""
    for key in TEXTS:
        yield from (((key, index), text) for index, text in enumerate(getattr(options, key, ())))
    for name, value in options.environment.items():
        yield ("environment", name), f"{name}={value}"
    if isinstance(options, LibraryBuild) and options.preset:
        yield ("preset",), options.preset
