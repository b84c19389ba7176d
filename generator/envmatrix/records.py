"""Dataclasses that are cheap to define: of most, a program calls few methods, and few times.

`dataclasses` compiles six methods of each frozen class when it is defined. That would be a third of
the time in which a verb starts. Here a method is made when it is called, and compiled only if it is
`__init__`, which is called often, or `__repr__`.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # whose rules type checkers apply by its name
else:

    def dataclass(cls=None, /, *, frozen=False, **options):
        """Define a class as `dataclasses.dataclass` does with the same options."""

        def define(cls: type) -> type:
            cls.__doc__ = cls.__doc__ or cls.__name__  # or `dataclasses` finds out the signature
            if frozen:
                return _define(cls, **options)
            return dataclasses.dataclass(cls, **options)

        return define if cls is None else define(cls)


# Compiling `__init__` takes as long as about so many calls of one that is not compiled.
_FEW_CALLS = 100
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "__eq__": operator.eq,
    "__lt__": operator.lt,
    "__le__": operator.le,
    "__gt__": operator.gt,
    "__ge__": operator.ge,
}
_BASIC = ("__init__", "__repr__")
_COMPARING = ("__eq__", "__hash__")
_ORDERING = ("__lt__", "__le__", "__gt__", "__ge__")


def _define(
    cls: type, *, eq: bool = True, order: bool = False, kw_only: bool = False, slots: bool = False
) -> type:
    """Return a frozen dataclass whose methods are made when they are called."""
    own = vars(cls)
    names = [*_BASIC, *(_COMPARING if eq else ()), *(_ORDERING if order else ())]
    # A class with an `__eq__` of its own has None as its `__hash__`.
    missing = [name for name in names if own.get(name) is None]
    define = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
    defined: type = define(cls)  # another class if it has slots
    for name in missing:
        setattr(defined, name, _made_when_called(defined, name))
    defined.__setattr__ = defined.__delattr__ = _refuse_assignment  # type: ignore[assignment]
    if slots:
        _pickle_slots(defined)
    return defined


def _made_when_called(cls: type, name: str) -> Any:
    """Return a method that replaces itself by the one that it stands for."""

    def method(self: object, *arguments: object, **named: object) -> object:
        defined = _method(cls, name)
        setattr(cls, name, defined)
        return defined(self, *arguments, **named)

    return method


def _method(cls: type, name: str) -> Any:
    if name == "__init__":
        return _interpreted_init(cls, name)
    if name == "__repr__":
        return _compiled(cls, name)
    fields = dataclasses.fields(cls)
    if name == "__hash__":
        hashed = [each for each in fields if (each.compare if each.hash is None else each.hash)]
        values = _values_of(hashed)
        return lambda self: hash(values(self))
    return _comparison(_COMPARISONS[name], _values_of([each for each in fields if each.compare]))


def _comparison(compare: Callable[[Any, Any], Any], values: Callable[[object], Any]) -> Any:
    def method(self: object, other: object) -> Any:
        if other.__class__ is self.__class__:
            return compare(values(self), values(other))
        return NotImplemented

    return method


def _values_of(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[object], tuple[Any, ...]]:
    """Return a function that returns the tuple of the values of fields."""
    names = [field.name for field in fields]
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _interpreted_init(cls: type, name: str) -> Any:
    """Return an `__init__` that replaces itself by a compiled one after some calls, and where its
    arguments are wrong: that says how."""
    fields, calls = dataclasses.fields(cls), count(1)

    def method(self: object, *arguments: object, **named: object) -> None:
        values = _bind(fields, arguments, named) if next(calls) <= _FEW_CALLS else None
        if values is None:
            compiled = _compiled(cls, name)
            setattr(cls, name, compiled)
            compiled(self, *arguments, **named)
            return
        for field, value in values.items():
            object.__setattr__(self, field, value)
        if check := getattr(self, "__post_init__", None):
            check()

    return method


def _bind(
    fields: Sequence[dataclasses.Field[Any]],
    arguments: Sequence[object],
    named: Mapping[str, object],
) -> Mapping[str, object] | None:
    """Return the values of `fields` by their names; None where the arguments are wrong."""
    parameters = [field for field in fields if field.init]
    positional = [field.name for field in parameters if not field.kw_only]
    values = dict(zip(positional, arguments, strict=False))
    allowed = {field.name for field in parameters} - values.keys()
    if len(arguments) > len(positional) or not named.keys() <= allowed:
        return None
    values |= named
    for field in fields:
        if field.name in values:
            continue
        if field.default is not dataclasses.MISSING:
            values[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        else:
            return None
    return values


def _compiled(cls: type, name: str) -> Any:
    """Return a method that `dataclasses` makes of the fields of `cls`."""
    after = getattr(cls, "__post_init__", None)
    standard = dataclasses.make_dataclass(
        cls.__name__,
        [(field.name, field.type, field) for field in dataclasses.fields(cls)],
        namespace={"__doc__": cls.__doc__, **({"__post_init__": after} if after else {})},
        init=name == "__init__",
        repr=name == "__repr__",
        eq=False,
        frozen=name == "__init__",
    )
    return vars(standard)[name]


def _pickle_slots(cls: type) -> None:
    """Let `pickle` have the values of fields alone, which it sets without their names."""
    fields = dataclasses.fields(cls)
    setters = [getattr(cls, field.name).__set__ for field in fields]
    values_of = _values_of(fields)

    def state(self: object) -> Sequence[object]:
        return list(values_of(self))

    def set_state(self: object, values: Sequence[object]) -> None:
        for set_value, value in zip(setters, values, strict=True):
            set_value(self, value)

    for name, method in (("__getstate__", state), ("__setstate__", set_state)):
        setattr(cls, name, method)


def _refuse_assignment(_self: object, name: str, *_: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
