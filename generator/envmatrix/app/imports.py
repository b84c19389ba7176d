"""Conversion of the CI matrices of other projects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from envmatrix.adoption.build_systems import propose
from envmatrix.adoption.files import library_name
from envmatrix.adoption.imports.conversion import (
    Context,
    Conversion,
    Outline,
    convert,
    systems_to_try,
)
from envmatrix.adoption.imports.formats import (
    LARGEST,
    detect,
    format_of,
    items_of,
    parse_source,
)
from envmatrix.adoption.imports.jobs import Remainder, Request, merged
from envmatrix.adoption.imports.libraries import Placed
from envmatrix.adoption.imports.text import matrix_text
from envmatrix.adoption.proposal import Proposal
from envmatrix.adoption.source_tree import SourceTree
from envmatrix.app.adoption import matrix_of, read_tree
from envmatrix.documents import Location, Node, parse_document
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.facts.model import Facts, load_facts
from envmatrix.files import content_of, write_whole
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.files import MATRIX
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import DEFAULTS
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import library_verdicts
from envmatrix.records import dataclass
from envmatrix.suggestions import known_names
from envmatrix.text import leading_names, one_line

# The most names of files in the comment of a matrix.
_MOST_NAMES = 3
# How often parts that the reader refuses are left out, before it is an error.
_MOST_ATTEMPTS = 20
# Parts of a converted matrix that the reader may refuse, and that are left out then.
_OPTIONAL: tuple[Location, ...] = (
    ("libraries", "*", "variants", "named", "*"),
    ("libraries", "*", "variants", "exclude", "*"),
    ("libraries", "*", "variants", "std", "*"),
    ("libraries", "*", "variants"),
    ("libraries", "*", "build"),
    ("libraries", "*", "test"),
    ("libraries", "*", "test", "runs_on"),
    ("libraries", "*", "test", "runs_on", "*"),
    ("libraries", "*", "cells"),
    ("include", "*"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user asked for: a format, workflows or jobs, and the systems of jobs without one."""

    format_name: str | None = None
    workflows: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Import:
    """The text of a matrix, None if there is none; how much of the file it is; and the rest. The
    format that the content has, if it was read as another one without a result."""

    format_name: str
    text: str | None
    jobs: int
    converted: int
    cells: int
    remainders: tuple[Remainder, ...]
    notes: tuple[str, ...] = ()
    other_format: str | None = None

    def write(self, target: Path) -> None:
        write_whole(target, (self.text or "").encode())

    def document(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "format": self.format_name,
            "jobs": self.jobs,
            "converted": self.converted,
            "cells": self.cells,
            "not_converted": [
                {
                    "file": row.position.file,
                    "line": row.position.line,
                    "column": row.position.column,
                    "key": row.key,
                    "values": [*row.values],
                    "reason": row.reason,
                    "rule": row.rule,
                    "jobs": row.jobs,
                }
                for row in self.remainders
            ],
        }


def import_matrix(files: Sequence[Path], choice: Choice, directory: Path) -> Import:
    """Convert files to a matrix of the repository at `directory`. Raise ConfigurationError if they
    are no matrix."""
    contents = {str(file): source_content(file) for file in files}
    tree, notes = read_tree(directory)
    return replace(convert_contents(contents, choice, tree), notes=tuple(notes))


def convert_contents(contents: Mapping[str, bytes], choice: Choice, tree: SourceTree) -> Import:
    """Convert the contents of files, by their names, to a matrix of a repository."""
    facts = load_facts()
    _require_systems(choice.systems, facts)
    sources = [parse_source(content, name) for name, content in contents.items()]
    format_name = choice.format_name or detect(sources)
    context = Context(
        facts=facts,
        components=_components(),
        systems=choice.systems or systems_to_try(facts),
        library=library_name(tree.name, propose(tree).project),
        find=lambda library: _proposal(library, tree),
    )
    items = items_of(sources, format_name, Request(choice.workflows))
    conversion = convert(items, context)
    if conversion.outline is None:
        jobs = sum(row.jobs for row in conversion.remainders)
        detected = format_of(sources[0])
        other = detected if detected != format_name else None
        return Import(format_name, None, jobs, 0, 0, conversion.remainders, other_format=other)
    names = leading_names([Path(name).name for name in contents], _MOST_NAMES)
    comment = f"Converted by `envmatrix import` from {names}."
    return _checked(conversion, conversion.outline, format_name, comment)


def _require_systems(systems: Sequence[str], facts: Facts) -> None:
    problems = [
        Problem(f"unknown operating system `{one_line(name)}`", None, known_names(name, facts.os))
        for name in systems
        if name not in facts.os
    ]
    if problems:
        raise ConfigurationError(*problems)


def source_content(file: Path) -> bytes:
    """Return what a file of another project has; of one that is too large, one byte too many."""
    try:
        size = file.stat().st_size
        return content_of(file, str(file)) if size <= LARGEST else bytes(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(f"`{file}` does not exist") from error


def _components() -> tuple[str, ...]:
    """Return the components that the built-in flavours ask for."""
    names: list[str] = []
    for flavour in ("runtime", "devel"):
        file = DEFAULTS / f"{flavour}.yaml"
        node = parse_document(file.read_bytes(), file.name).root.child("components")
        names += (str(item.content) for item in node.children.values()) if node else ()
    return tuple(names)


def _proposal(library: str, tree: SourceTree) -> Proposal | None:
    """Return how a library is built whose name is that of a directory; without a name, the one of
    the repository. None if there is no such directory."""
    if not library:
        proposal = propose(tree)
    elif library in tree.directories:
        part = propose(tree.below(library))
        path = library if part.path == "." else f"{library}/{part.path}"
        proposal = replace(part, path=path)
    else:
        return None
    is_recognized = proposal.system != "none that is recognized"
    return proposal if is_recognized else Proposal(system="", tests="", path=proposal.path)


def _checked(conversion: Conversion, outline: Outline, format_name: str, comment: str) -> Import:
    """Return the matrix as the reader takes it: the parts that it refuses become remainders."""
    document, refused = outline.document, list[Remainder]()
    position = min(row.job.position for row in outline.placed)
    for attempt in count():
        text = matrix_text(document, [comment])
        try:
            matrix = matrix_of({MATRIX: text})
            break
        except ConfigurationError as error:
            root = parse_document(text.encode(), MATRIX).root
            places = {problem: _optional_part(problem.position, root) for problem in error.problems}
            if not any(places.values()) or attempt == _MOST_ATTEMPTS:
                raise
            document = _without(document, {place for place in places.values() if place})
            refused += (
                Remainder(".".join(map(str, place)), (), problem.message, position)
                for problem, place in places.items()
                if place
            )
    impossible = [*_impossible(outline, matrix)]
    return Import(
        format_name=format_name,
        text=text,
        jobs=outline.jobs,
        converted=len(outline.placed) - len(impossible),
        cells=len(matrix.cells),
        remainders=merged([*conversion.remainders, *refused, *impossible]),
    )


def _optional_part(position: Position | None, root: Node) -> Location | None:
    """Return the location of the part around a position that may be left out."""
    location = next((place for place, where in _places(root, ()) if where == position), ())
    for length in range(len(location), 0, -1):
        if any(_matches(location[:length], part) for part in _OPTIONAL):
            return location[:length]
    return None


def _places(node: Node, location: Location) -> Iterator[tuple[Location, Position]]:
    """Yield the locations of values by their positions and those of their keys, inner ones
    first."""
    for step, child in node.children.items():
        yield from _places(child, (*location, step))
        if str(step) in node.keys:
            yield (*location, step), node.keys[str(step)]
    yield location, node.position


def _matches(location: Location, part: Location) -> bool:
    return len(location) == len(part) and all(
        step in ("*", name) for name, step in zip(location, part, strict=True)
    )


def _without(value: Any, locations: Collection[Location]) -> Any:
    """Return mappings and lists without the values at locations, and without what is empty then."""
    steps: dict[str | int, set[Location]] = {}
    for step, *rest in locations:
        steps.setdefault(step, set()).add(tuple(rest))
    is_mapping = isinstance(value, Mapping)
    children = {
        step: _without(child, steps[step]) if step in steps else child
        for step, child in (value.items() if is_mapping else enumerate(value))
        if () not in steps.get(step, ())
    }
    left = {step: child for step, child in children.items() if child or step not in steps}
    return left if is_mapping else [*left.values()]


def _impossible(outline: Outline, matrix: Matrix) -> Iterator[Remainder]:
    """Yield jobs that are in no cell of the matrix, or whose variant is left out there."""
    libraries = {library.name: library.expanded for library in matrix.libraries}
    cells = {cell.id: cell for cell in matrix.cells}
    verdicts: dict[tuple[str, str], Verdict | None] = {}
    for row in outline.placed:
        position, cell = row.job.position, cells.get(row.cell.id)
        variant = _variant(row, outline, libraries[row.library])
        if variant is None or cell is None:
            value = f"{row.library} in {row.cell.id}"
            reason = "its settings are left out"
            yield Remainder("variant of", (value,), reason, position, jobs=1)
            continue
        key = (variant.name, cell.id)
        if key not in verdicts:
            failed = (each for each in library_verdicts(variant, cell, matrix) if not each.passed)
            verdicts[key] = next(failed, None)
        if verdict := verdicts[key]:
            what = ("variant", (f"{variant.name} in {cell.id}",))
            yield Remainder(*what, verdict.explanation, position, verdict.rule, jobs=1)


def _variant(row: Placed, outline: Outline, variants: Sequence[Library]) -> Library | None:
    """Return the variant that a job has become; None if it was refused."""
    settings = row.job.settings
    named = outline.variants.get((row.library, settings), "")
    for library in variants:
        variant = library.variant
        pairs = (
            (settings.std, variant.std),
            (settings.build_type, variant.build_type),
            (settings.sanitizer, variant.sanitizer or "none"),
        )
        if variant.named == named and all(setting in ("", value) for setting, value in pairs):
            return library
    return None
