"""Validation of a file with its model, and messages about its problems in the terms of YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_origin

from pydantic import ValidationError

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import Problem
from envmatrix.matrix.scalars import EXPECTED, RELEASE, RELEASES
from envmatrix.matrix.schema import Table
from envmatrix.matrix.selectors import suggest_selector
from envmatrix.suggestions import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=Table)

# Keys of a library that can be left out when they are invalid, and the depths of locations to leave
# out. A library cannot do without its source.
_PARTS = {"build", "test", "benchmark", "artifacts", "components"}
_LIBRARY_PART, _DEEPEST_PART = 3, 4

# Characters of an invalid text in a message.
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Reading(Generic[_Model]):
    """The valid parts of a file, their positions, and the problems of the others."""

    contents: _Model | None
    document: Document
    problems: tuple[Problem, ...]


def read_document(model: type[_Model], document: Document) -> Reading[_Model]:
    """Validate a file; its valid parts are read even if others have problems."""
    empty = tuple(_empty_locations(document.root))
    initial = [
        *document.problems,
        *(_empty_problem(location, document) for location in empty),
        *_rule_problems(model, document),
    ]
    document = document.without(empty)
    try:
        contents = model.model_validate(document.plain())
        return Reading(contents, replace(document, problems=tuple(initial)), tuple(initial))
    except ValidationError as invalid:
        errors = _innermost(invalid.errors(include_url=False))
    errors = [error for error in errors if not (_is_missing(error) and error["loc"] in empty)]
    problems = (*initial, *(_problem(error, model, document) for error in errors))
    for depth in (_DEEPEST_PART, _LIBRARY_PART, 0):
        valid = document.without({_faulty(error, depth) for error in errors})
        partial = replace(valid, problems=problems)
        with suppress(ValidationError):
            return Reading(model.model_validate(partial.plain()), partial, problems)
    return Reading(None, partial, problems)


def _is_missing(error: ErrorDetails) -> bool:
    return error["type"] == "missing"


def _empty_locations(node: Node, location: Location = ()) -> Iterator[Location]:
    """Yield the locations of keys without a value."""
    if isinstance(node.content, Mapping):
        for key, child in node.content.items():
            if child.content is None:
                yield (*location, key)
            yield from _empty_locations(child, (*location, key))
    elif isinstance(node.content, tuple):
        for index, child in enumerate(node.content):
            yield from _empty_locations(child, (*location, index))


def _empty_problem(location: Location, document: Document) -> Problem:
    return Problem(f"`{_dotted(location)}` needs a value", document.key_position(*location))


def _rule_problems(model: type[Table], document: Document) -> Iterator[Problem]:
    """Yield violations of rules between the keys of tables."""
    for table, node, location in _tables(model, document.root, ()):
        content = cast("Mapping[str, Node]", node.content)
        values = {key: child.content for key, child in content.items() if child.content is not None}
        for rule in table.key_rules:
            for violation in rule.violations(values):
                place = (*location, violation.key) if violation.key else location
                where = document.key_position(*place) if place else document.position()
                yield Problem(f"`{_dotted(location)}`: {violation.message}", where, violation.hint)


def _tables(
    annotation: Any, node: Node | None, location: Location
) -> Iterator[tuple[type[Table], Node, Location]]:
    """Yield every mapping of a file whose model is a table, with its location."""
    if node is None:
        return
    if isinstance(annotation, type) and issubclass(annotation, Table):
        if isinstance(node.content, Mapping):
            yield annotation, node, location
            for key, field in annotation.model_fields.items():
                yield from _tables(field.annotation, node.child(key), (*location, key))
        return
    arguments = get_args(annotation)
    if get_origin(annotation) is dict and isinstance(node.content, Mapping):
        for key, child in node.content.items():
            yield from _tables(arguments[1], child, (*location, key))
    elif get_origin(annotation) is tuple and isinstance(node.content, tuple):
        for index, child in enumerate(node.content):
            yield from _tables(arguments[0], child, (*location, index))
    elif get_origin(annotation) not in (dict, tuple):
        for option in arguments:
            yield from _tables(option, node, location)


def _innermost(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Return the errors without those that follow from one inside: a list is "too short" without
    its invalid items."""
    around = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["loc"] not in around]


def _faulty(error: ErrorDetails, depth: int) -> Location:
    """Return the smallest part whose removal leaves the rest valid with the same meaning; in a
    library, a part of the given depth, if it has one."""
    location = error["loc"]
    if location[:1] == ("libraries",) and location[2:3] and location[2] in _PARTS:
        return location[: depth or 2]
    return location[:4] if location[:1] == ("axes",) else location[:2]


def _problem(error: ErrorDetails, model: type[Table], document: Document) -> Problem:
    location = tuple(step for step in error["loc"] if step != "[key]")
    name = _dotted(location) or "the file"
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(str(location[-1]), _keys_beside(location, model))
        return Problem(f"unknown key `{name}`", document.key_position(*location), hint)
    if error["type"] == "missing":
        return Problem(f"`{name}` is missing", document.position(*location[:-1]))
    if error["input"] is None:
        return Problem(f"`{name}` needs a value", document.position(*location))
    where = document.key_position if "[key]" in error["loc"] else document.position
    return Problem(f"`{name}` {_complaint(error)}", where(*location), _suggestion(error))


def _dotted(location: Location) -> str:
    """Return a location as text: `exclude[0].cuda`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")


def _complaint(error: ErrorDetails) -> str:
    context, shown = error.get("ctx", {}), _shown(error["input"])
    match error["type"]:
        case "string_pattern_mismatch":
            return f"must be {EXPECTED[context['pattern']]}, not {shown}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '`')}, not {shown}"
        case "value_error":
            return f"{context['error']}: {shown}"
        case "too_short" | "string_too_short":
            return "must not be empty"
    kinds = {"string_type": "text", "tuple_type": "a list"}
    return f"must be {kinds.get(error['type'], 'a mapping')}"


def _shown(value: object) -> str:
    """Return an invalid value for a message: quoted and shortened, or the kind of it."""
    if isinstance(value, str):
        text = " ".join(value.split())
        return f"`{text[:_MOST_SHOWN]}...`" if len(text) > _MOST_SHOWN else f"`{text}`"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _suggestion(error: ErrorDetails) -> str | None:
    is_release = error.get("ctx", {}).get("pattern") in (RELEASE, RELEASES)
    return suggest_selector(error["input"]) if is_release else None


def _keys_beside(location: Location, model: type[Table]) -> Iterator[str]:
    """Return the valid keys of the table that has the last step of `location`."""
    table = model
    for step in location[:-1]:
        field = table.model_fields.get(str(step))
        table = _table_in(field.annotation) or table if field else table
    return iter(table.model_fields)


def _table_in(annotation: Any) -> type[Table] | None:
    """Return the table of a field, or of its items; None if it has none."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)
