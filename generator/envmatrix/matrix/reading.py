"""Reads a file into its model, and says in its author's words what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import ValidationError

from envmatrix.errors import Problem
from envmatrix.matrix.document import Document, Location
from envmatrix.matrix.schema import EXPECTED, RELEASE, RELEASES, Table
from envmatrix.matrix.selectors import near_miss
from envmatrix.matrix.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=Table)


@dataclass(frozen=True, slots=True)
class Reading(Generic[_Model]):
    """The valid parts of a file, where they stand, and what is wrong with the others."""

    contents: _Model | None
    document: Document
    problems: tuple[Problem, ...]


def read(model: type[_Model], document: Document) -> Reading[_Model]:
    try:
        return Reading(model.model_validate(document.plain()), document, document.problems)
    except ValidationError as invalid:
        errors = _innermost(invalid.errors(include_url=False))
    problems = (*document.problems, *(_problem(error, model, document) for error in errors))
    valid = document.without({_faulty(error) for error in errors})
    kept = replace(valid, problems=problems)
    try:
        return Reading(model.model_validate(kept.plain()), kept, problems)
    except ValidationError:
        return Reading(None, kept, problems)


def _innermost(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow from one inside: a list is "too short" by its bad items."""
    around = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["loc"] not in around]


def _faulty(error: ErrorDetails) -> Location:
    """The smallest part whose removal leaves the rest valid and means no more than before."""
    location = error["loc"]
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
        return Problem(f"`{name}` needs a value", document.key_position(*location))
    where = document.key_position if "[key]" in error["loc"] else document.position
    return Problem(f"`{name}` {_complaint(error)}", where(*location), _suggestion(error))


def _spelt(location: Location) -> str:
    """`exclude[0].cuda`, as people write it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")


def _complaint(error: ErrorDetails) -> str:
    context, given = error.get("ctx", {}), error["input"]
    match error["type"]:
        case "string_pattern_mismatch":
            return f"must be {EXPECTED[context['pattern']]}, not `{given}`"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '`')}, not `{given}`"
        case "value_error":
            return f"{context['error']}: `{given}`"
        case "too_short" | "string_too_short":
            return "must not be empty"
    kinds = {"string_type": "text", "tuple_type": "a list"}
    return f"must be {kinds.get(error['type'], 'a mapping')}"


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
