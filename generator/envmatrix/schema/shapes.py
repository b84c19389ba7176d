"""Annotations of dataclasses, resolved once: what each value of a file has to be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from envmatrix.schema.constraints import Mark, Place

_Constraint = TypeVar("_Constraint")


class Shape(NamedTuple):
    """The type of a value: `kind` is a dataclass, `tuple`, `Mapping`, `Literal` or a scalar type,
    `arguments` the types or words in it."""

    kind: Any
    arguments: tuple[Any, ...] = ()
    constraints: tuple[object, ...] = ()

    @property
    def is_table(self) -> bool:
        return is_dataclass(self.kind)

    def constraint(self, kind: type[_Constraint]) -> _Constraint | None:
        matching = (each for each in self.constraints if isinstance(each, kind))
        return next(matching, None)


class Table(NamedTuple):
    """The keys of a dataclass with their shapes; the fields `key` and of `place` are set by
    the decoder."""

    shapes: Mapping[str, Shape]
    required: frozenset[str]
    key: str | None
    place: tuple[str, str] | None


@cache
def shape_of(annotation: Any) -> Shape:
    """Return the shape of an annotation, without `None`: a key that is absent has the default."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        shape = shape_of(arguments[0])
        return Shape(shape.kind, shape.arguments, (*shape.constraints, *arguments[1:]))
    if origin in (Union, UnionType):
        (option,) = (argument for argument in arguments if argument is not NoneType)
        return shape_of(option)
    return Shape(origin or annotation, arguments)


@cache
def table_of(kind: type) -> Table:
    """Return the keys of a dataclass, from its annotations."""
    hints = get_type_hints(kind, include_extras=True)
    shapes = {field.name: shape_of(hints[field.name]) for field in fields(kind)}
    keys = [name for name, shape in shapes.items() if Mark.KEY in shape.constraints]
    places = {name: place for name, shape in shapes.items() if (place := shape.constraint(Place))}
    derived = [name for name, shape in shapes.items() if Mark.DERIVED in shape.constraints]
    listed = [field for field in fields(kind) if field.name not in (*keys, *places, *derived)]
    return Table(
        shapes={field.name: shapes[field.name] for field in listed},
        required=frozenset(field.name for field in listed if _is_required(field)),
        key=next(iter(keys), None),
        place=next(((name, place.key) for name, place in places.items()), None),
    )


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
