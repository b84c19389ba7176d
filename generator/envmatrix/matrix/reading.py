"""Reads a file into its model, and says in its author's words what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_origin

from pydantic import ValidationError

from envmatrix.errors import Problem
from envmatrix.matrix.document import Document, Location, Node
from envmatrix.matrix.scalars import EXPECTED, RELEASE, RELEASES
from envmatrix.matrix.schema import Table
from envmatrix.matrix.selectors import near_miss
from envmatrix.matrix.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=Table)

# What a library says of itself alone, and how deep the parts of that are which may be left out. It
# is nothing without its source.
_PARTS = {"build", "test", "benchmark", "artifacts", "components"}
_LIBRARY_PART, _DEEPEST_PART = 3, 4

# Of a text that is wrong, in a message.
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Reading(Generic[_Model]):
    """The valid parts of a file, where they stand, and what is wrong with the others."""

    contents: _Model | None
    document: Document
    problems: tuple[Problem, ...]


def read(model: type[_Model], document: Document) -> Reading[_Model]:
    """All that is wrong with the shape of a file is told; what is right is read all the same."""
    empty = tuple(_empty(document.root))
    told = [
        *document.problems,
        *(_empty_problem(location, document) for location in empty),
        *_broken(model, document),
    ]
    document = document.without(empty)
    try:
        contents = model.model_validate(document.plain())
        return Reading(contents, replace(document, problems=tuple(told)), tuple(told))
    except ValidationError as invalid:
        errors = _innermost(invalid.errors(include_url=False))
    errors = [error for error in errors if not (_is_missing(error) and error["loc"] in empty)]
    problems = (*told, *(_problem(error, model, document) for error in errors))
    for depth in (_DEEPEST_PART, _LIBRARY_PART, 0):
        valid = document.without({_faulty(error, depth) for error in errors})
        kept = replace(valid, problems=problems)
        with suppress(ValidationError):
            return Reading(model.model_validate(kept.plain()), kept, problems)
    return Reading(None, kept, problems)


def _is_missing(error: ErrorDetails) -> bool:
    return error["type"] == "missing"


def _empty(node: Node, location: Location = ()) -> Iterator[Location]:
    """The keys without a value. Nothing is said by one: what means nothing is left out."""
    if isinstance(node.content, Mapping):
        for key, child in node.content.items():
            if child.content is None:
                yield (*location, key)
            yield from _empty(child, (*location, key))
    elif isinstance(node.content, tuple):
        for index, child in enumerate(node.content):
            yield from _empty(child, (*location, index))


def _empty_problem(location: Location, document: Document) -> Problem:
    return Problem(f"`{_spelt(location)}` needs a value", document.key_position(*location))


def _broken(model: type[Table], document: Document) -> Iterator[Problem]:
    """What the keys of tables have to do with each other, and have not."""
    for table, node, location in _tables(model, document.root, ()):
        content = cast("Mapping[str, Node]", node.content)
        given = {key: its.content for key, its in content.items() if its.content is not None}
        for rule in table.key_rules:
            for its in rule.broken(given):
                place = (*location, its.key) if its.key else location
                where = document.key_position(*place) if place else document.position()
                yield Problem(f"`{_spelt(location)}`: {its.message}", where, its.hint)


def _tables(
    annotation: Any, node: Node | None, location: Location
) -> Iterator[tuple[type[Table], Node, Location]]:
    """Every mapping of a file that stands where a table does."""
    if node is None:
        return
    if isinstance(annotation, type) and issubclass(annotation, Table):
        if isinstance(node.content, Mapping):
            yield annotation, node, location
            for key, field in annotation.model_fields.items():
                yield from _tables(field.annotation, node.child(key), (*location, key))
        return
    inside = get_args(annotation)
    if get_origin(annotation) is dict and isinstance(node.content, Mapping):
        for key, child in node.content.items():
            yield from _tables(inside[1], child, (*location, key))
    elif get_origin(annotation) is tuple and isinstance(node.content, tuple):
        for index, child in enumerate(node.content):
            yield from _tables(inside[0], child, (*location, index))
    elif get_origin(annotation) not in (dict, tuple):
        for its in inside:
            yield from _tables(its, node, location)


def _innermost(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow from one inside: a list is "too short" by its bad items."""
    around = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["loc"] not in around]


def _faulty(error: ErrorDetails, depth: int) -> Location:
    """The smallest part whose removal leaves the rest valid and means no more than before: of what
    a library says of itself, a part of the given depth, if there is any."""
    location = error["loc"]
    if location[:1] == ("libraries",) and location[2:3] and location[2] in _PARTS:
        return location[: depth or 2]
    return location[:4] if location[:1] == ("axes",) else location[:2]


def _problem(error: ErrorDetails, model: type[Table], document: Document) -> Problem:
    location = tuple(step for step in error["loc"] if step != "[key]")
    name = _spelt(location) or "the file"
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(str(location[-1]), _keys_beside(location, model))
        return Problem(f"unknown key `{name}`", document.key_position(*location), hint)
    if error["type"] == "missing":
        return Problem(f"`{name}` is missing", document.position(*location[:-1]))
    if error["input"] is None:
        return Problem(f"`{name}` needs a value", document.position(*location))
    where = document.key_position if "[key]" in error["loc"] else document.position
    return Problem(f"`{name}` {_complaint(error)}", where(*location), _suggestion(error))


def _spelt(location: Location) -> str:
    """`exclude[0].cuda`, as people write it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")


def _complaint(error: ErrorDetails) -> str:
    context, given = error.get("ctx", {}), _shown(error["input"])
    match error["type"]:
        case "string_pattern_mismatch":
            return f"must be {EXPECTED[context['pattern']]}, not {given}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '`')}, not {given}"
        case "value_error":
            return f"{context['error']}: {given}"
        case "too_short" | "string_too_short":
            return "must not be empty"
    kinds = {"string_type": "text", "tuple_type": "a list"}
    return f"must be {kinds.get(error['type'], 'a mapping')}"


def _shown(given: object) -> str:
    """What was given instead, as people would call it."""
    if isinstance(given, str):
        text = " ".join(given.split())
        return f"`{text[:_MOST_SHOWN]}...`" if len(text) > _MOST_SHOWN else f"`{text}`"
    return "a mapping" if isinstance(given, Mapping) else "a list"


def _suggestion(error: ErrorDetails) -> str | None:
    is_release = error.get("ctx", {}).get("pattern") in (RELEASE, RELEASES)
    return near_miss(error["input"]) if is_release else None


def _keys_beside(location: Location, model: type[Table]) -> Iterator[str]:
    """The keys that are known where the last step of `location` is not."""
    table = model
    for step in location[:-1]:
        field = table.model_fields.get(str(step))
        table = _table_in(field.annotation) or table if field else table
    return iter(table.model_fields)


def _table_in(annotation: Any) -> type[Table] | None:
    """The table that a field is, or holds some of."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)
