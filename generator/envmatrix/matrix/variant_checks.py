"""Checks of the variants of libraries."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from envmatrix.documents import Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.checks import Source, duplicate_problems
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.library import Library
from envmatrix.matrix.library_checks import text_problems
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.option_rules import SETTINGS, VARIABLES, is_own, set_name, sets_standard
from envmatrix.matrix.selection import library_verdicts, select
from envmatrix.matrix.variants import NO_VARIANTS, SEPARATOR, NamedVariant, Variant
from envmatrix.suggestions import did_you_mean, known_names
from envmatrix.text import one_line

# Settings of which one value may be impossible, and the rules that say so.
_COMPILER_RULES = ("std", "sm", "sdk")


def variant_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for library in matrix.libraries:
        if library.variants == NO_VARIANTS:
            continue
        location = ("libraries", library.name, "variants")
        repeated = [*_repeated_values(library, source, location)]
        yield from repeated or _collisions(library, source, location)
        yield from _contradictions(library, source, location)
        wrong_patterns = [*_pattern_problems(library, source, matrix, location)]
        yield from wrong_patterns
        if not wrong_patterns and matrix.cells:
            yield from _exclude_problems(library, source, matrix, location)
            yield from _nothing_left(library, source, matrix, location)
            yield from _impossible_variants(library, source, matrix, location)


def _repeated_values(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    variants = library.variants
    for key in ("std", "build_type", "sanitizer"):
        yield from duplicate_problems(source, (*location, key), getattr(variants, key))
    for name, entry in variants.named.items():
        for key in ("std", "build_type", "sanitizer", "sm"):
            place = (*location, "named", name, key)
            yield from duplicate_problems(source, place, getattr(entry, key))


def _collisions(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    """Yield variants with the name of another one, or with its settings."""
    names: dict[str, Variant] = {}
    names_by_settings: dict[Hashable, str] = {}
    for variant in library.variants.combinations():
        place = (*location, "named", variant.named) if variant.named else location
        full_name = _full_name(library, variant)
        same = names_by_settings.setdefault(_identity(variant), full_name)
        if names.setdefault(variant.name, variant) is not variant:
            message = f"there is another variant `{full_name}`"
            position = source.document.key_position(*place)
            yield Problem(message, position, "names of values and of variants have to differ")
        elif same != full_name:
            message = f"variant `{full_name}` has the settings of `{same}`"
            yield Problem(message, source.document.key_position(*place), "leave one of them out")


def _full_name(library: Library, variant: Variant) -> str:
    return f"{library.name}{SEPARATOR}{variant.name}" if variant.name else library.name


def _identity(variant: Variant) -> Hashable:
    """Return the settings of a variant without its names."""
    tables = (tuple(sorted(rows.items())) for rows in (variant.definitions, variant.environment))
    lists = (variant.options, variant.sm, variant.sdk)
    return (variant.std, variant.build_type, variant.sanitizer, variant.preset, *lists, *tables)


def _contradictions(library: Library, source: Source, location: Location) -> Iterator[Problem]:
    """Yield options of the library and of its variants that set what a key of variants sets, or
    what envmatrix sets itself."""
    build, combinations = library.build, [*library.variants.combinations()]
    settings = SETTINGS.get(build.system, {})
    keys = {*settings.values(), *VARIABLES.values(), "std"}
    varied = {key for key in keys if any(getattr(row, key) for row in combinations)}
    own_settings = {name: key for name, key in settings.items() if key in varied}
    own_variables = {name: key for name, key in VARIABLES.items() if key in varied}
    place: Location = ("libraries", library.name, "build")
    tables: list[tuple[Mapping[str, str], Iterable[tuple[Location, str]]]] = [
        (own_settings, _options(build.options, (*place, "options"))),
        (own_variables, _values(build.environment, (*place, "environment"))),
    ]
    for key, entry in library.variants.named.items():
        place = (*location, "named", key)
        texts = [
            *_options(entry.options, (*place, "options")),
            *_values(entry.definitions, (*place, "definitions")),
        ]
        variables = [*_values(entry.environment, (*place, "environment"))]
        tables += [(settings, texts), (VARIABLES, variables)]
        for where, text in texts:
            yield from _own_problem(text, build.system, source, where)
        for where, text in variables:
            yield from _own_problem(text, "cmake", source, where)
        yield from _repeated_definitions(entry, source, place)
        yield from _foreign_keys(entry, build.system, source, place)
        yield from _long_texts(entry, source, place)
        sdks = source.facts.sdks
        if entry.sdk and entry.sdk not in sdks:
            hint = did_you_mean(entry.sdk, sdks) or f"known are {', '.join(sdks)}"
            yield source.problem(f"unknown SDK `{entry.sdk}`", (*place, "sdk"), hint)
    for names, rows in tables:
        for where, text in rows:
            yield from _contradiction(text, names, "std" in varied, source, where)


def _options(texts: tuple[str, ...], location: Location) -> Iterator[tuple[Location, str]]:
    yield from (((*location, index), text) for index, text in enumerate(texts))


def _values(table: Mapping[str, str], location: Location) -> Iterator[tuple[Location, str]]:
    yield from (((*location, name), f"{name}={value}") for name, value in table.items())


def _quoted(text: str, location: Location) -> str:
    """Return an option, or the key of a definition or a variable."""
    return one_line(text if isinstance(location[-1], int) else str(location[-1]))


def _contradiction(
    text: str, keys: Mapping[str, str], has_standards: bool, source: Source, location: Location
) -> Iterator[Problem]:
    key = keys.get(set_name(text)) or ("std" if has_standards and sets_standard(text) else None)
    if key:
        message = f"`{_quoted(text, location)}` sets what `{key}` of variants sets"
        position = source.document.key_position(*location)
        yield Problem(message, position, f"write `{key}` in `variants` instead")


def _own_problem(text: str, system: str, source: Source, location: Location) -> Iterator[Problem]:
    if is_own(text, system):
        message = f"`{_quoted(text, location)}` sets what envmatrix sets for the cell"
        yield Problem(message, source.document.key_position(*location), "leave it out")


def _repeated_definitions(
    entry: NamedVariant, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield options that define what the same variant defines."""
    definitions = {name.partition(":")[0] for name in entry.definitions}
    for where, text in _options(entry.options, (*location, "options")):
        if (name := set_name(text)) in definitions:
            message = f"`{one_line(text)}` sets `{name}`, which `definitions` sets as well"
            yield source.problem(message, where, "leave one of them out")


def _foreign_keys(
    entry: NamedVariant, system: str, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield settings that the build system of the library does not have."""
    foreign = {
        "preset": bool(entry.preset) and system != "cmake",
        "options": bool(entry.options) and system == "script",
        "definitions": bool(entry.definitions) and system == "script",
    }
    for key in (key for key, is_foreign in foreign.items() if is_foreign):
        position = source.document.key_position(*location, key)
        hint = "a script gets variables: `environment`" if system == "script" else None
        yield Problem(f"a library of system `{system}` has no `{key}`", position, hint)


def _long_texts(entry: NamedVariant, source: Source, location: Location) -> Iterator[Problem]:
    for where, text in _options(entry.options, (*location, "options")):
        yield from text_problems(text, "options", source, where)
    for key in ("definitions", "environment"):
        for name, value in getattr(entry, key).items():
            yield from text_problems(f"{name}={value}", key, source, (*location, key, name))


def _pattern_problems(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield globs of cells and of variants that match nothing, and names of no variant."""
    variants = library.variants
    for name, entry in variants.named.items():
        place = (*location, "named", name, "cells")
        yield from _cell_problems(entry.cells, source, matrix, place)
    for index, row in enumerate(variants.exclude):
        place = (*location, "exclude", index, "cells")
        yield from _cell_problems(row.cells, source, matrix, place)
        for item, name in enumerate(row.named or ()):
            if name not in variants.named:
                hint = did_you_mean(name, variants.named)
                where = (*location, "exclude", index, "named", item)
                yield source.problem(f"`named` has no variant `{name}`", where, hint)
    names = [variant.name for variant in variants.combinations()]
    for tier, globs in variants.tiers.items():
        for index, glob in enumerate(globs):
            if not any(fnmatchcase(name, glob) for name in names):
                hint = known_names(glob, filter(None, names))
                message = f"`{one_line(glob)}` matches no variant of library `{library.name}`"
                yield source.problem(message, (*location, "tiers", tier, index), hint)


def _cell_problems(
    patterns: tuple[str, ...], source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    for index, pattern in enumerate(patterns):
        try:
            select(matrix, [pattern])
        except NothingSelected as nothing:
            yield source.problem(nothing.message, (*location, index), nothing.hint)


def _exclude_problems(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield excludes without effect."""
    excluded: set[tuple[str, Cell]] = set()
    combinations = [*library.variants.combinations()]
    for index, row in enumerate(library.variants.exclude):
        before, cells = len(excluded), select(matrix, row.cells)
        names = [variant.name for variant in combinations if row.matches(variant)]
        excluded.update((name, cell) for name in names for cell in cells)
        if len(excluded) == before:
            message = "excludes nothing that is not excluded before it"
            yield source.problem(message, (*location, "exclude", index))


def _nothing_left(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield the last exclude of a library that is left in no cell because of excludes."""
    if matrix.runs or not library.variants.exclude:
        return
    rules: set[str] = set()
    for variant in library.expanded:
        refusals = [*_refusals(variant, matrix)]
        if len(refusals) < len(matrix.cells):
            return
        rules.update(verdict.rule for _, verdict in refusals)
    if "exclude" in rules:
        message = f"excludes leave no variant of library `{library.name}` in any cell"
        where = (*location, "exclude", len(library.variants.exclude) - 1)
        yield source.problem(message, where, "leave the library out, or exclude less")


def _impossible_variants(
    library: Library, source: Source, matrix: Matrix, location: Location
) -> Iterator[Problem]:
    """Yield settings for which no cell has the compilers, with the variants that have them, and
    variants for no cell."""
    impossible: dict[tuple[Location, str, str], list[str]] = {}
    for variant in library.expanded:
        if matrix.runs and matrix.runs_in(None, variant):
            continue
        refusals = [*_refusals(variant, matrix)]
        if len(refusals) < len(matrix.cells):
            continue
        by_compilers = [each for each in refusals if each[1].rule in _COMPILER_RULES]
        if by_compilers:
            # The cells are sorted: the last one has the newest compilers.
            cell, verdict = by_compilers[-1]
            where = (*location, *_place_of(verdict.rule, variant.variant, library))
            hint = f"the last one is `{cell.id}`"
            if any(verdict.rule == "exclude" for _, verdict in refusals):
                hint = f"`exclude` takes it out of the others; {hint}"
            impossible.setdefault((where, verdict.explanation, hint), []).append(variant.name)
        elif _has_own_cells(variant, library) and all(row.rule == "cells" for _, row in refusals):
            message = f"`cells` has no cell of library `{library.name}`"
            yield source.problem(message, (*location, "named", variant.variant.named, "cells"))
    for (where, reason, hint), names in impossible.items():
        message = f"no cell can build {', '.join(f'`{name}`' for name in names)}: {reason}"
        yield source.problem(message, where, hint)


def _has_own_cells(variant: Library, library: Library) -> bool:
    entry = library.variants.named.get(variant.variant.named)
    return entry is not None and bool(entry.cells)


def _refusals(library: Library, matrix: Matrix) -> Iterator[tuple[Cell, Verdict]]:
    """Yield the cells that a variant is left out of, each with the first rule that it fails, up to
    the first cell that has it."""
    for cell in matrix.cells:
        failed = (row for row in library_verdicts(library, cell, matrix) if not row.passed)
        verdict = next(failed, None)
        if verdict is None:
            return
        yield cell, verdict


def _place_of(rule: str, variant: Variant, library: Library) -> Location:
    """Return the location of a setting that compilers do not take, in `variants`."""
    entry = library.variants.named.get(variant.named)
    if rule in ("sm", "sdk"):
        return ("named", variant.named, rule)
    values: list[str] = [*(entry.std if entry and entry.std else library.variants.std)]
    place: Location = ("named", variant.named) if entry and entry.std else ()
    return (*place, "std", values.index(str(variant.std)))
