"""The JSON Schema of a file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def json_schema(model: type[BaseModel]) -> dict[str, object]:
    """Return the JSON Schema of a model, as strict as `reading.read_document`."""
    schema = _strict(model.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _strict(schema: Any) -> Any:
    """Return a schema without nulls as values, and without names that match no pattern."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    strict = {
        key: _strict(value) for key, value in schema.items() if (key, value) != ("default", None)
    }
    if "patternProperties" in strict:
        strict["additionalProperties"] = False
    choices = strict.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        del strict["anyOf"]
        strict = {**strict, **choices[0]}
    return strict
