"""Validation of a file: its valid parts, and the problems of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import Problem
from envmatrix.records import dataclass
from envmatrix.schema.decoding import Fault, decode, dotted
from envmatrix.schema.shapes import Shape, shape_of, table_of

_Contents = TypeVar("_Contents")

# Keys of a library that can be left out when they are invalid, and the depths of locations to leave
# out. A library cannot do without its source.
_PARTS = {
    "build",
    "test",
    "benchmark",
    "artifacts",
    "components",
    "needs",
    "variants",
    "steps",
}
_LIBRARY_PART, _DEEPEST_PART = 3, 4


@dataclass(frozen=True, slots=True)
class Reading(Generic[_Contents]):
    """The valid parts of a file, and its document with their positions and the problems of the
    others."""

    contents: _Contents | None
    document: Document


def read_document(kind: type[_Contents], document: Document) -> Reading[_Contents]:
    """Validate a file; its valid parts are read even if others have problems."""
    empty = dict.fromkeys(_empty_locations(document.root))
    problems = [
        *document.problems,
        *(
            Problem(f"`{dotted(location)}` needs a value", document.key_position(*location))
            for location in empty
        ),
        *_rule_problems(kind, document),
    ]
    document = document.without(empty)
    contents, faults = decode(kind, document)
    # A required key without a value is not missing as well.
    faults = tuple(fault for fault in faults if fault.location not in empty)
    problems += [fault.problem for fault in faults]
    valid = document
    for depth in (_DEEPEST_PART, _LIBRARY_PART, 0) if contents is None else ():
        valid = document.without({_faulty(fault, depth) for fault in faults})
        contents, _ = decode(kind, valid)
        if contents is not None:
            break
    return Reading(contents, replace(valid, problems=tuple(problems)))


def _empty_locations(node: Node, location: Location = ()) -> Iterator[Location]:
    """Yield the locations of keys without a value."""
    for step, child in node.children.items():
        if child.content is None and isinstance(step, str):
            yield (*location, step)
        yield from _empty_locations(child, (*location, step))


def _rule_problems(kind: type, document: Document) -> Iterator[Problem]:
    """Yield violations of rules between the keys of tables."""
    for table, node, location in _tables(shape_of(kind), document.root, ()):
        values = {key: child.content for key, child in node.items() if child.content is not None}
        for rule in getattr(table, "KEY_RULES", ()):
            for violation in rule.violations(values):
                place = (*location, violation.key) if violation.key else location
                where = document.key_position(*place) if place else document.position()
                yield Problem(f"`{dotted(location)}`: {violation.message}", where, violation.hint)


def _tables(
    shape: Shape, node: Node, location: Location
) -> Iterator[tuple[type, Mapping[str, Node], Location]]:
    """Yield every mapping of a file that is a table, with its location."""
    content = node.content
    if isinstance(content, Mapping) and shape.is_table:
        yield shape.kind, content, location
        for key, inner in table_of(shape.kind).shapes.items():
            if key in content:
                yield from _tables(inner, content[key], (*location, key))
    elif isinstance(content, Mapping) and shape.kind is Mapping:
        for key, child in content.items():
            yield from _tables(shape_of(shape.arguments[1]), child, (*location, key))
    elif isinstance(content, Mapping) and shape.kind is tuple:
        yield from _tables(shape_of(shape.arguments[0]), node, location)
    elif isinstance(content, tuple) and shape.kind is tuple:
        for index, child in enumerate(content):
            yield from _tables(shape_of(shape.arguments[0]), child, (*location, index))


def _faulty(fault: Fault, depth: int) -> Location:
    """Return the smallest part whose removal leaves the rest valid with the same meaning; in a
    library, a part of the given depth, if it has one."""
    location = fault.location
    if location[:1] == ("libraries",) and location[2:3] and location[2] in _PARTS:
        return location[: depth or 2]
    return location[:4] if location[:1] == ("axes",) else location[:2]
