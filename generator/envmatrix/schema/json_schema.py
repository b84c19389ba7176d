"""JSON Schemas of files, for editors, from the annotations of their dataclasses. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

from envmatrix.records import dataclass
from envmatrix.schema.constraints import Listed, Mark, Scalar, Shorthand
from envmatrix.schema.shapes import Shape, shape_of, table_of

Schema = dict[str, Any]

# Characters of a value that stays in one line.
_LINE = 80


def json_schema(kind: type, title: str, elsewhere: Mapping[str, str] | None = None) -> Schema:
    """Return the JSON Schema of a file, as strict as `decode`. Definitions that are `elsewhere`, in
    the schema of another file, are references to there."""
    writer = _Writer(elsewhere or {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **writer.table(kind),
        "$defs": dict(sorted(writer.definitions.items())),
    }


def dumped(value: object, indent: str = "") -> str:
    """Return JSON in which whatever fits into a line is one."""
    flat = json.dumps(value)
    if len(flat) <= _LINE or not isinstance(value, (dict, list)):
        return flat
    inner = f"{indent}  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {dumped(item, inner)}" for key, item in value.items()]
    else:
        items = [dumped(item, inner) for item in value]
    separator = f",\n{inner}"
    return f"{flat[0]}\n{inner}{separator.join(items)}\n{indent}{flat[-1]}"


@dataclass(frozen=True, slots=True)
class _Writer:
    elsewhere: Mapping[str, str]
    definitions: dict[str, Schema] = field(default_factory=dict)

    def value(self, shape: Shape) -> Schema:
        scalar, word = shape.constraint(Scalar), shape.constraint(Shorthand)
        listed = shape.constraint(Listed)
        if scalar:
            return self._reference(scalar.name, lambda: dict(scalar.schema))
        if shape.is_table:
            reference = self._reference(shape.kind.__name__, lambda: self.table(shape.kind))
            if listed:
                return {"anyOf": [self.value(table_of(shape.kind).shapes[listed.key]), reference]}
            return {"anyOf": [self._short(shape, word), reference]} if word else reference
        if shape.kind is tuple:
            return self._list(shape)
        if shape.kind is Literal:
            return {"enum": [*shape.arguments]}
        if shape.kind is Mapping:
            keys, values = (self.value(shape_of(each)) for each in shape.arguments)
            return {"type": "object", "propertyNames": keys, "additionalProperties": values}
        return {"type": "string"}

    def _short(self, shape: Shape, word: Shorthand) -> Schema:
        """Return the text that stands for a table."""
        if word.word is not None:
            return {"const": word.word}
        key = table_of(shape.kind).shapes[word.key]
        return self.value(shape_of(key.arguments[0]) if key.kind is tuple else key)

    def _list(self, shape: Shape) -> Schema:
        items = self.value(shape_of(shape.arguments[0]))
        least = {"minItems": 1} if Mark.NON_EMPTY in shape.constraints else {}
        schema = {"type": "array", "items": items, **least}
        return {"anyOf": [items, schema]} if Mark.ONE_OR_MANY in shape.constraints else schema

    def table(self, kind: Any) -> Schema:
        table = table_of(kind)
        properties = {name: self.value(shape) for name, shape in table.shapes.items()}
        required = [name for name in table.shapes if name in table.required]
        rules = [dict(rule.schema()) for rule in getattr(kind, "KEY_RULES", ())]
        return {
            "description": " ".join(kind.__doc__.split()),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
            **({"allOf": rules} if rules else {}),
        }

    def _reference(self, name: str, make: Callable[[], Schema]) -> Schema:
        if name in self.elsewhere:
            return {"$ref": self.elsewhere[name]}
        if name not in self.definitions:
            self.definitions[name] = make()
        return {"$ref": f"#/$defs/{name}"}
