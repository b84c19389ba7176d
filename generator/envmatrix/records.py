"""Dataclasses that are cheap to define: of most, a program calls few methods, or none.

`dataclasses` compiles six methods of each frozen class when it is defined. That would be a third of
the time in which a verb starts. Here it compiles a method when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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


_BASIC = ("__init__", "__repr__")
_COMPARING = ("__eq__", "__hash__")
_ORDERING = ("__lt__", "__le__", "__gt__", "__ge__")


def _define(
    cls: type, *, eq: bool = True, order: bool = False, kw_only: bool = False, slots: bool = False
) -> type:
    """Return a frozen dataclass whose methods are compiled when they are called."""
    own = vars(cls)
    names = [*_BASIC, *(_COMPARING if eq else ()), *(_ORDERING if order else ())]
    # A class with an `__eq__` of its own has None as its `__hash__`.
    missing = [name for name in names if own.get(name) is None]
    define = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
    defined: type = define(cls)  # another class if it has slots
    for name in missing:
        setattr(defined, name, _compiled_when_called(defined, name))
    defined.__setattr__ = defined.__delattr__ = _refuse_assignment  # type: ignore[assignment]
    if slots:
        _pickle_slots(defined)
    return defined


def _compiled_when_called(cls: type, name: str) -> Any:
    """Return a method that replaces itself by the one that `dataclasses` makes."""

    def method(self: object, *arguments: object, **named: object) -> object:
        compiled = vars(_compiled(cls, name))[name]
        setattr(cls, name, compiled)
        return compiled(self, *arguments, **named)

    return method


def _compiled(cls: type, name: str) -> type:
    """Return a dataclass with one method, and the fields of `cls`."""
    after = getattr(cls, "__post_init__", None)
    return dataclasses.make_dataclass(
        cls.__name__,
        [(field.name, field.type, field) for field in dataclasses.fields(cls)],
        namespace={"__doc__": cls.__doc__, **({"__post_init__": after} if after else {})},
        init=name == "__init__",
        repr=name == "__repr__",
        eq=name in (*_COMPARING, *_ORDERING),
        order=name in _ORDERING,
        frozen=name in ("__init__", "__hash__"),
    )


def _pickle_slots(cls: type) -> None:
    """Let `pickle` have the values of fields alone, which it sets without their names."""
    names = [field.name for field in dataclasses.fields(cls)]
    setters = [getattr(cls, name).__set__ for name in names]

    def state(self: object) -> Sequence[object]:
        return [getattr(self, name) for name in names]

    def set_state(self: object, values: Sequence[object]) -> None:
        for set_value, value in zip(setters, values, strict=True):
            set_value(self, value)

    for name, method in (("__getstate__", state), ("__setstate__", set_state)):
        setattr(cls, name, method)


def _refuse_assignment(_self: object, name: str, *_: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
