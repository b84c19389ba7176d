"""Mappings with known keys, and their JSON Schemas."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from envmatrix.matrix.keys import KeyRule


class Table(BaseModel):
    """A mapping with known keys. What they have to do with each other is in `key_rules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_rules: ClassVar[tuple[KeyRule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        rules = [dict(rule.schema()) for rule in cls.key_rules]
        handler.resolve_ref_schema(schema).update({"allOf": rules} if rules else {})
        return schema


def json_schema(model: type[Table]) -> dict[str, object]:
    """The JSON Schema of a file, for editors."""
    schema = _strict(model.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _strict(schema: Any) -> Any:
    """As `reading` has it: a key that means nothing is left out, and no name is of another form."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _strict(value) for key, value in schema.items() if (key, value) != ("default", None)
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    choices = kept.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        del kept["anyOf"]
        kept = {**kept, **choices[0]}
    return kept
