from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, astuple, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest

from envmatrix import records


def definitions_by(decorate: Callable[..., Any]) -> tuple[Any, ...]:
    """Return one class for each option, defined by a decorator."""

    @decorate(frozen=True, slots=True)
    class Plain:
        first: int
        second: tuple[str, ...] = ()
        KIND: ClassVar[str] = "plain"

        @property
        def size(self) -> int:
            return len(self.second)

    @decorate(frozen=True, slots=True)
    class Made:
        first: list[int] = field(default_factory=list)
        second: str = field(default="b", compare=False, repr=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "second", self.second.upper())

    @decorate(frozen=True, slots=True, order=True)
    class Ordered:
        first: int
        second: int = 0

    @decorate(frozen=True, slots=True, eq=False)
    class Extended(Ordered):
        third: int = 3

    @decorate(frozen=True, slots=True, kw_only=True)
    class Named:
        first: int = 1
        second: int

        def __str__(self) -> str:
            return f"named {self.first}"

    @decorate(frozen=True, slots=True)
    class Own:
        first: int

        def __eq__(self, other: object) -> bool:
            return True

        def __repr__(self) -> str:
            return "own"

    @decorate(frozen=True)
    class Unslotted:
        first: int
        second: int = 2

        @cached_property
        def total(self) -> int:
            return self.first + self.second

    return Plain, Made, Ordered, Extended, Named, Own, Unslotted


ARGUMENTS: tuple[tuple[int, tuple[Any, ...], dict[str, Any]], ...] = (
    (0, (1,), {}),
    (0, (1, ("a", "b")), {}),
    (0, (), {"second": ("a",), "first": 2}),
    (1, (), {}),
    (1, ([1], "c"), {}),
    (2, (1, 2), {}),
    (3, (1, 2), {"third": 4}),
    (4, (), {"second": 2}),
    (5, (1,), {}),
    (6, (1,), {}),
)
USES: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "fields": lambda value: [(each.name, each.type, each.default) for each in fields(value)],
    "values": astuple,
    "mapping": asdict,
    "equal": lambda value: value == copy.copy(value),
    "unequal": lambda value: value == "other",
    "replaced": lambda value: repr(replace(value, first=[7])),
    "cached": lambda value: getattr(value, "total", None),
    "slots": lambda value: hasattr(value, "__dict__"),
    "match": lambda value: type(value).__match_args__,
    "name": lambda value: type(value).__qualname__,
    "copied": lambda value: repr(copy.deepcopy(value)),
    "state": lambda value: value.__getstate__(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("number", "words", "named"), ARGUMENTS)
def test_a_record_is_what_the_standard_library_makes_of_it(
    use: str, number: int, words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    standard, own = (
        definitions_by(decorate)[number](*words, **named)
        for decorate in (dataclasses.dataclass, records.dataclass)
    )
    assert USES[use](own) == USES[use](standard)


@pytest.mark.parametrize("number", [0, 2, 4])
def test_equal_records_have_one_hash(number: int) -> None:
    kind = definitions_by(records.dataclass)[number]
    assert len({kind(first=1, second=2), kind(first=1, second=2), kind(first=2, second=2)}) == 2


def test_records_are_sorted_by_their_fields() -> None:
    kind = definitions_by(records.dataclass)[2]
    values = [kind(2), kind(1, 5), kind(1)]
    assert [astuple(value) for value in sorted(values)] == [(1, 0), (1, 5), (2, 0)]
    assert kind(1) <= kind(1) < kind(2)
    assert kind(2) >= kind(2) > kind(1)


def test_a_record_without_an_argument_it_needs_is_refused() -> None:
    kind = definitions_by(records.dataclass)[0]
    for _ in range(2):
        with pytest.raises(TypeError, match="first"):
            kind()


@pytest.mark.parametrize(("number", "words", "named"), ARGUMENTS)
def test_no_field_of_a_record_changes(
    number: int, words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    value = definitions_by(records.dataclass)[number](*words, **named)
    with pytest.raises(FrozenInstanceError):
        value.first = 2
    with pytest.raises(FrozenInstanceError):
        value.other = 2
    with pytest.raises(FrozenInstanceError):
        del value.first


@records.dataclass(frozen=True, slots=True)
class Pickled:
    first: int
    second: Pickled | None = None


def test_a_record_is_pickled_without_a_call_of_its_methods() -> None:
    value = Pickled(1, Pickled(2))
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301


@records.dataclass(frozen=True, slots=True)
class Unused:
    first: int


def test_methods_are_made_when_they_are_called() -> None:
    names = ("__init__", "__repr__", "__eq__", "__hash__")
    before = {name: vars(Unused)[name] for name in names}
    value = Unused(1)
    assert {name for name in names if vars(Unused)[name] is not before[name]} == {"__init__"}
    assert hash(value) == hash(Unused(1))
    assert vars(Unused)["__hash__"] is not before["__hash__"]


@pytest.mark.parametrize(("number", "words", "named"), ARGUMENTS)
def test_a_record_that_is_made_often_is_what_it_was(
    number: int, words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    kind = definitions_by(records.dataclass)[number]
    first, *others = (kind(*words, **named) for _ in range(200))
    assert {repr(value) for value in others} == {repr(first)}
    assert "compiled" not in vars(kind)["__init__"].__code__.co_names


@pytest.mark.parametrize(
    ("words", "named"),
    [((1, 2, 3), {}), ((1,), {"first": 1}), ((1,), {"third": 3}), ((), {"second": 2})],
)
def test_wrong_arguments_are_refused_as_by_the_standard_library(
    words: tuple[Any, ...], named: dict[str, Any]
) -> None:
    messages = []
    for decorate in (dataclasses.dataclass, records.dataclass):
        with pytest.raises(TypeError) as error:
            definitions_by(decorate)[0](*words, **named)
        messages.append(str(error.value).split(".")[-1])
    assert messages[0] == messages[1]


@records.dataclass
class Mutable:
    first: int = 1


def test_a_class_that_is_not_frozen_is_an_ordinary_dataclass() -> None:
    value = Mutable()
    value.first = 2
    assert value == Mutable(2)
