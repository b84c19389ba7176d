"""Dataclasses as JSON, whose types are checked when it is read. Pure.

A dataclass is the list of its fields, which is short and soon read; so whoever stores one stores
the version of its format beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from envmatrix.results.records import InvalidRecord, accepted, checks

# The metadata of a last field, with a default value, that is not encoded.
NOT_ENCODED: Mapping[str, bool] = {"envmatrix.not_encoded": True}

_T = TypeVar("_T")
_Reader = Callable[[Any], Any]


def encode(value: object) -> str:
    """Return the JSON of a dataclass, of other dataclasses, tuples, mappings and scalars."""
    return json.dumps(value, default=_row, separators=(",", ":"), allow_nan=False)


def decode(kind: Callable[..., _T], text: str) -> _T:
    """Return the dataclass that `text` encodes; raise InvalidRecord if it does not."""
    try:
        value: _T = _dataclass_reader(kind)(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:  # InvalidRecord is a ValueError
        raise InvalidRecord("it does not encode such a value") from error
    return value


def _row(value: Any) -> list[Any]:
    kind: Any = type(value)
    return [getattr(value, name) for name in _names(kind)]


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(
        field.name for field in fields(kind) if not field.metadata.keys() & NOT_ENCODED.keys()
    )


@cache
def _reader(kind: Any) -> _Reader | None:
    """Return the function that makes a value of a type from its JSON; None if the two are equal."""
    origin, options = get_origin(kind), get_args(kind)
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass_reader(kind)
    if origin is tuple:
        return partial(_read_tuple, options[0])
    if origin is Mapping:
        return partial(_read_mapping, options[1])
    readers = list(filter(None, map(_reader, options if origin in (Union, UnionType) else ())))
    if readers:  # of `X | None`
        return lambda entry: None if entry is None else readers[0](entry)
    return None


@cache
def _dataclass_reader(kind: Any) -> _Reader:
    hints, names = get_type_hints(kind), _names(kind)
    readers = [
        (number, read) for number, name in enumerate(names) if (read := _reader(hints[name]))
    ]
    # Texts are most fields, and are checked together; what a reader returns is valid.
    texts = [number for number, name in enumerate(names) if hints[name] is str]
    checked = {*texts, *(number for number, _ in readers)}
    predicates = [
        (number, accepts)
        for number, (name, accepts) in enumerate(checks(kind))
        if name in names and number not in checked
    ]

    def read_fields(row: Any) -> Any:
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidRecord("a value is not the list of its fields")
        if {type(row[number]) for number in texts} - {str}:
            raise InvalidRecord("a text has another type")
        for number, accepts in predicates:
            if not accepts(row[number]):
                raise InvalidRecord("a field has another type")
        for number, read in readers:
            row[number] = read(row[number])
        return kind(*row)

    return read_fields


def _read_tuple(kind: Any, entry: Any) -> tuple[Any, ...]:
    if not isinstance(entry, list):
        raise InvalidRecord("a tuple is not a list")
    read = _reader(kind)
    return tuple(map(read, entry)) if read else tuple(_checked(kind, entry))


def _read_mapping(kind: Any, entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidRecord("a mapping is not an object")
    return dict(zip(entry, _checked(kind, entry.values()), strict=True))


def _checked(kind: Any, values: Iterable[Any]) -> Iterable[Any]:
    if not all(map(accepted(kind), values)):
        raise InvalidRecord("a value has another type")
    return values
