from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.schema.constraints import Mark, number, pattern
from envmatrix.schema.json_schema import dumped, json_schema
from envmatrix.schema.key_rules import KeyRule, apart

Word = Annotated[str, pattern("word", "^[a-z]+$", "a word")]


@dataclass(frozen=True)
class Wheel:
    """A round thing."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (apart("inches", "size"),)

    name: Annotated[str, Mark.KEY]
    inches: Annotated[int, number("count", 1, 99)] | None = None
    size: Word | None = None


@dataclass(frozen=True)
class Bicycle:
    """A thing
    with wheels."""

    wheels: Mapping[Word, Wheel]
    owners: Annotated[tuple[Word, ...], Mark.NON_EMPTY] = ("ann",)


@dataclass(frozen=True)
class Change:
    """A change with its reason."""

    reason: Word
    wheels: Mapping[Word, Wheel] = field(default_factory=dict)


def test_a_dataclass_is_a_schema_with_each_type_once() -> None:
    schema = json_schema(Bicycle, "bicycle.yaml")
    assert (schema["title"], schema["description"]) == ("bicycle.yaml", "A thing with wheels.")
    assert schema["required"] == ["wheels"]
    assert schema["properties"]["wheels"] == {
        "type": "object",
        "propertyNames": {"$ref": "#/$defs/word"},
        "additionalProperties": {"$ref": "#/$defs/Wheel"},
    }
    assert schema["properties"]["owners"]["minItems"] == 1
    assert [*schema["$defs"]] == ["Wheel", "count", "word"]
    assert schema["$defs"]["Wheel"]["allOf"] == [{"not": {"required": ["inches", "size"]}}]
    assert "name" not in schema["$defs"]["Wheel"]["properties"]


def test_a_definition_of_another_schema_is_a_reference_into_its_file() -> None:
    elsewhere = {name: f"bicycle.json#/$defs/{name}" for name in ("Wheel", "count", "word")}
    schema = json_schema(Change, "change.yaml", elsewhere)
    assert schema["properties"]["reason"] == {"$ref": "bicycle.json#/$defs/word"}
    assert schema["$defs"] == {}


@given(
    st.recursive(
        st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_text_in_few_lines_is_the_same_json(value: object) -> None:
    assert json.loads(dumped(value)) == value


@pytest.mark.parametrize(("size", "lines"), [(3, 1), (40, 42)])
def test_what_fits_into_a_line_is_one(size: int, lines: int) -> None:
    assert len(dumped(["word"] * size).splitlines()) == lines
