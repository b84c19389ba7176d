"""The JSON Schema of a file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def json_schema(model: type[BaseModel]) -> dict[str, object]:
    """As strict as reading is."""
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
