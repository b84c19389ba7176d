from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, ClassVar, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError, Position
from envmatrix.schema.constraints import Listed, Mark, Place, Shorthand, number, pattern
from envmatrix.schema.decoding import Rows, decode, decode_all


@dataclass(frozen=True)
class Colour:
    name: str


@dataclass(frozen=True)
class Part:
    kind: Literal["wheel", "frame", "bell"]
    codes: tuple[str, int] = ("", 0)
    spare: bool = False


@dataclass(frozen=True)
class Bags:
    front: tuple[str, ...] = ()
    rear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bicycle:
    KEY_RULES: ClassVar[tuple[object, ...]] = ()

    name: Annotated[str, Mark.KEY]
    gears: int
    built: date | None = None
    colour: Colour | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    owners: Annotated[tuple[str, ...], Mark.NON_EMPTY, Mark.ONE_OR_MANY] = ("nobody",)
    bell: Annotated[Part, Shorthand("bell", "kind", "must be a mapping, or `bell`")] | None = None
    bags: Annotated[Bags, Listed("front")] = field(default_factory=Bags)
    weight: Annotated[int, number("weight", 1, 99)] = 10
    frame: Annotated[str, pattern("frame", "^[a-z]+$", "a word")] = "steel"
    position: Annotated[Position | None, Place("gears")] = None
    riders: Annotated[tuple[str, ...], Mark.DERIVED] = ()


@dataclass(frozen=True)
class Shop:
    gears: Mapping[str, Bicycle] = field(default_factory=dict)
    kind: Bicycle | None = None
    parts: tuple[Part, ...] = ()


COLOURS: Rows = {Colour: {"red": Colour("red"), "blue": Colour("blue")}}


def bicycles(text: str) -> Mapping[str, Bicycle]:
    document = parse_document(text.encode(), "bicycles.yaml")
    result: Mapping[str, Bicycle] = decode_all(Mapping[str, Bicycle], document, COLOURS)
    return result


def test_a_list_may_stand_for_a_table() -> None:
    assert bicycles("a: {gears: 1, bags: [x]}")["a"].bags == Bags(front=("x",))
    assert bicycles("a: {gears: 1, bags: {rear: [x]}}")["a"].bags == Bags(rear=("x",))
    ((problem, hint),) = problems("a: {gears: 1, bags: [[x]]}")
    assert problem == "bicycles.yaml:1:22: `a.bags[0]` must be text"
    assert hint == "write `x`, without brackets"


def problems(text: str) -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigurationError) as caught:
        bicycles(text)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_a_row_becomes_a_value_of_declared_types() -> None:
    text = """
fast:
  gears: 0x12
  built: 2027-01-31
  colour: red
  parts: {front: {kind: wheel, codes: [a, 7], spare: true}}
  owners: ann
  bell: bell
"""
    assert bicycles(text)["fast"] == Bicycle(
        "fast",
        gears=18,
        built=date(2027, 1, 31),
        colour=Colour("red"),
        parts={"front": Part("wheel", ("a", 7), spare=True)},
        owners=("ann",),
        bell=Part("bell"),
        position=Position("bicycles.yaml", 3, 10),
    )


def test_a_key_that_is_absent_has_the_default() -> None:
    assert bicycles("slow: {gears: 1}")["slow"] == Bicycle(
        "slow", 1, position=Position("bicycles.yaml", 1, 15)
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{}", "1:4: `b.gears` is missing"),
        ("{gears: }", "1:5: `b.gears` needs a value"),
        ("{gears: many}", "1:12: `b.gears` must be a number, not `many`"),
        ("{gears: [1]}", "1:12: `b.gears` must be text"),
        ("[]", "1:4: `b` must be a mapping"),
        ("{gears: 1, built: soon}", "1:22: `b.built` must be a day such as `2027-01-31`: `soon`"),
        ("{gears: 1, parts: x}", "1:22: `b.parts` must be a mapping"),
        (
            "{gears: 1, parts: {a: {kind: seat}}}",
            "1:33: `b.parts.a.kind` must be `wheel`, `frame` or `bell`, not `seat`",
        ),
        (
            "{gears: 1, parts: {a: {kind: [x]}}}",
            "1:33: `b.parts.a.kind` must be `wheel`, `frame` or `bell`, not a list",
        ),
        (
            "{gears: 1, parts: {a: {kind: bell, codes: [x]}}}",
            "1:46: `b.parts.a.codes` must have 2 items",
        ),
        (
            "{gears: 1, parts: {a: {kind: bell, spare: yes}}}",
            "1:46: `b.parts.a.spare` must be `true` or `false`, not `yes`",
        ),
        ("{gears: 1, owners: {a: b}}", "1:23: `b.owners` must be a list"),
        ("{gears: 1, owners: []}", "1:23: `b.owners` must not be empty"),
        ("{gears: 1, owners: [~]}", "1:24: `b.owners[0]` needs a value"),
        ("{gears: 1, bell: horn}", "1:21: `b.bell` must be a mapping, or `bell`: `horn`"),
        ("{gears: 1, bell: [horn]}", "1:21: `b.bell` must be a mapping"),
        ("{gears: 1, weight: 0}", "1:23: `b.weight` must be a number from 1 to 99, not `0`"),
        ("{gears: 1, weight: 007}", "1:23: `b.weight` must be a number from 1 to 99, not `007`"),
        ("{gears: 1, frame: A}", "1:22: `b.frame` must be a word, not `A`"),
        ('{gears: 1, frame: "a\\n"}', "1:22: `b.frame` must be a word, not `a\\n`"),
        ("{gears: 1, colour: [red]}", "1:23: `b.colour` must name a row, not a list"),
        ("{gears: 1, riders: [ann]}", "1:15: unknown key `b.riders`"),
        ("{gears: 1, gears: 2}", "1:15: key `gears` is already given at bicycles.yaml:1:5"),
    ],
)
def test_a_value_of_another_type_is_told_with_its_place(row: str, problem: str) -> None:
    assert f"bicycles.yaml:{problem}" in [text for text, _ in problems(f"b: {row}")]


def test_a_word_that_is_almost_right_has_a_suggestion() -> None:
    ((text, hint),) = problems("b: {gears: 1, color: red}")
    assert (text, hint) == (
        "bicycles.yaml:1:15: unknown key `b.color`",
        "did you mean `colour`?",
    )
    ((text, hint),) = problems("b: {gears: 1, colour: rde}")
    assert text.endswith("`b.colour` must name a row, not `rde`")
    assert hint == "did you mean `red`?"


def test_all_problems_are_told_at_once() -> None:
    assert len(problems("a: {gear: 1}\nb: {gears: x, parts: {c: {}}}")) == 4


def test_a_file_with_faults_has_no_content() -> None:
    content, faults = decode(Part, parse_document(b"{codes: [a]}", "part.yaml"))
    assert content is None
    assert [fault.location for fault in faults] == [("kind",), ("codes",)]


words = st.sampled_from(["gears", "built", "colour", "parts", "kind", "codes", "owners", "bell"])
scalars = st.none() | st.sampled_from(["", "1", "-1", "red", "bell", "2027-01-31", "0x"]) | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4)
)


@given(st.dictionaries(words, st.dictionaries(words, values, max_size=5), min_size=1))
def test_any_document_is_decoded_or_has_problems_with_places(content: object) -> None:
    document = parse_document(yaml.safe_dump(content).encode(), "bicycles.yaml")
    decoded, faults = decode(Shop, document)
    assert (decoded is None) == bool(faults)
    assert all(fault.problem.position for fault in faults)


@given(st.text())
def test_any_text_is_decoded_or_has_problems(text: str) -> None:
    with suppress(ConfigurationError):
        bicycles(text)
