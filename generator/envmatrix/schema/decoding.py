"""Values of declared types, decoded from documents: the annotations of dataclasses are the schema
of files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field
from datetime import date
from typing import Any, Literal, NamedTuple, TypeVar, cast

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Listed, Mark, Scalar, Shorthand, value_text
from envmatrix.schema.shapes import Shape, Table, shape_of, table_of
from envmatrix.suggestions import MISTYPED, did_you_mean
from envmatrix.text import one_line

_Value = TypeVar("_Value")

# Keys of other tools, with those of the same meaning.
_OTHER_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("dependencies", "depends", "depends_on", "deps"), "needs"),
    **dict.fromkeys(("cmd", "command", "run", "script"), "commands"),
    **dict.fromkeys(("apt", "apt_packages", "debs", "dnf", "system_packages"), "packages"),
    "url": "archive",
}

# The same for words.
_OTHER_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("yes", "true"), "on"),
    **dict.fromkeys(("no", "false"), "off"),
    "latest": "newest",
}

# Items of a list, or entries of a mapping, far above those of real files: checks compare them with
# each other.
_MOST_ITEMS = 5_000

# Rows of other files by their type and name: where a value has such a type, the file names the row.
Rows = Mapping[type, Mapping[str, object]]


class Fault(NamedTuple):
    """A problem that leaves the value at `location` without meaning."""

    location: Location
    problem: Problem


def decode(
    kind: type[_Value], document: Document, rows: Rows | None = None
) -> tuple[_Value | None, tuple[Fault, ...]]:
    """Return the content of a file as a dataclass, and all faults; no content if there are any."""
    decoder = _Decoder(document, rows or {})
    value = decoder.value(shape_of(cast("Hashable", kind)), document.root, ())
    return (None if decoder.faults else value), tuple(decoder.faults)


def decode_all(annotation: Any, document: Document, rows: Rows | None = None) -> Any:
    """Return the content of a file as what `annotation` says. Raise ConfigurationError with all
    problems."""
    value, faults = decode(annotation, document, rows)
    if problems := (*document.problems, *(fault.problem for fault in faults)):
        raise ConfigurationError(*problems)
    return value


def dotted(location: Location) -> str:
    """Return a location as text for a message: `exclude[0].cuda`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return one_line(text.removeprefix("."))


# How to convert a text to each scalar type, and the complaint about one that is none.
_CONVERSIONS: Mapping[type, tuple[Callable[[str], object], str]] = {
    str: (str, ""),
    bool: ({"true": True, "false": False}.__getitem__, "must be `true` or `false`, not {}"),
    int: (lambda text: int(text, 0), "must be a number, not {}"),
    date: (date.fromisoformat, "must be a day such as `2027-01-31`: {}"),
}


def _converted(kind: type, text: str) -> object:
    convert, complaint = _CONVERSIONS[kind]
    try:
        return convert(text)
    except (KeyError, ValueError):
        raise ValueError(complaint.format(value_text(text))) from None


def _table_with(table: Table, text: object) -> str | None:
    """Return a hint for a word in place of a table that has a key for it."""
    keys = (
        name
        for name, shape in table.shapes.items()
        if shape.kind is Literal and text in shape.arguments
    )
    return next((f"write `{{{key}: {text}}}`" for key in keys), None)


_MAPPING = "write `KEY: VALUE`, with a line for each key"


def _as_list(node: Node) -> str:
    """Return a hint for a value in place of a list."""
    if isinstance(node.content, str):
        return f"write `{json.dumps([node.content])}`"
    names = [key for key, child in node.children.items() if not child.children]
    if names and len(names) == len(node.children):
        return f"write a list, such as `{json.dumps(names)}`"
    return "write a list, whose items begin with `- `"


def _as_text(node: Node) -> str:
    """Return a hint for a list or a mapping in place of text."""
    items = [child.content for child in node.children.values()]
    if isinstance(node.content, tuple) and len(items) == 1 and isinstance(items[0], str):
        return f"write `{one_line(items[0])}`, without brackets"
    return "quote it if it is text"


def _only_value(key: str, shape: Shape) -> str | None:
    """Return a hint for a missing key that has one value only."""
    if shape.kind is not Literal or len(shape.arguments) != 1:
        return None
    return f"write `{key}: {json.dumps(shape.arguments[0])}`"


def _word_meant(text: str, words: Sequence[str]) -> str:
    """Return the word that a text means in other letters, with others around its number, or as
    other programs have it; else the text in small letters."""
    texts = {text.lower(), re.sub(r"[^0-9]", "", text), _OTHER_WORDS.get(text.lower(), "")}
    return next((word for word in words if word.lower() in texts), text.lower())


@dataclass(frozen=True, slots=True)
class _Decoder:
    document: Document
    rows: Rows
    faults: list[Fault] = field(default_factory=list)

    def value(self, shape: Shape, node: Node, location: Location) -> Any:
        """Return the value of a node, or None after adding its faults."""
        if node.content is None:
            return self._fault(location, "needs a value", self.document.key_position(*location))
        if not isinstance(node.content, str) and len(node.content) > _MOST_ITEMS:
            message = f"has {len(node.content)} items, and at most {_MOST_ITEMS} are read"
            return self._fault(location, message)
        if shape.is_table:
            return self._table(shape, node, location)
        if shape.kind is tuple:
            return self._items(shape, node, location)
        if shape.kind is Mapping:
            return self._entries(shape, node, location)
        if shape.kind is not Literal and not isinstance(node.content, str):
            return self._fault(location, "must be text", hint=_as_text(node))
        return self._text(shape, node.content, location)

    def _table(self, shape: Shape, node: Node, location: Location) -> Any:
        content, shorthand = node.content, shape.constraint(Shorthand)
        if shape.kind in self.rows:
            return self._row(self.rows[shape.kind], content, location)
        if isinstance(content, Mapping):
            return self._fields(table_of(shape.kind), shape.kind, node, location)
        listed = shape.constraint(Listed)
        if isinstance(content, tuple) and listed:
            items = self.value(table_of(shape.kind).shapes[listed.key], node, location)
            return shape.kind(**{listed.key: items})
        hint = _table_with(table_of(shape.kind), content) or (
            _as_list(node) if listed else _MAPPING
        )
        if not isinstance(content, str) or not shorthand:
            return self._fault(location, "must be a mapping", hint=hint)
        if shorthand.word is None:
            return self._from_text(shape, shorthand.key, node, location)
        if content != shorthand.word:
            return self._fault(location, f"{shorthand.meaning}: {value_text(content)}", hint=hint)
        return shape.kind(**{shorthand.key: content})

    def _from_text(self, shape: Shape, key: str, node: Node, location: Location) -> Any:
        """Return the table for which a text of one of its keys stands."""
        table, before = table_of(shape.kind), len(self.faults)
        values = {key: self.value(table.shapes[key], node, location)}
        if table.place:
            values[table.place[0]] = node.position
        return shape.kind(**values) if len(self.faults) == before else None

    def _fields(self, table: Table, kind: Any, node: Node, location: Location) -> Any:
        content, before = cast("Mapping[str, Node]", node.content), len(self.faults)
        values: dict[str, Any] = {}
        for name, shape in table.shapes.items():
            if name in content:
                values[name] = self.value(shape, content[name], (*location, name))
            elif name in table.required:
                self._fault((*location, name), "is missing", hint=_only_value(name, shape))
        for name in content:
            if name not in table.shapes:
                self._unknown((*location, name), table.shapes)
        if table.key:
            values[table.key] = str(location[-1])
        if table.place:
            name, key = table.place
            values[name] = (content.get(key) or node).position
        return kind(**values) if len(self.faults) == before else None

    def _items(self, shape: Shape, node: Node, location: Location) -> Any:
        content = node.content
        if Mark.ONE_OR_MANY in shape.constraints and not isinstance(content, tuple):
            return self._only_item(shape, node, location)
        if not isinstance(content, tuple):
            return self._fault(location, "must be a list", hint=_as_list(node))
        if not content and Mark.NON_EMPTY in shape.constraints:
            return self._fault(location, "must not be empty")
        shapes = [shape_of(each) for each in shape.arguments if each is not Ellipsis]
        if Ellipsis in shape.arguments:
            shapes *= len(content)
        if len(shapes) != len(content):
            return self._fault(location, f"must have {len(shapes)} items")
        pairs = enumerate(zip(shapes, content, strict=True))
        return tuple(self.value(inner, item, (*location, index)) for index, (inner, item) in pairs)

    def _only_item(self, shape: Shape, node: Node, location: Location) -> Any:
        """Return a list of one item, which stands in place of it."""
        inner = shape_of(shape.arguments[0])
        if isinstance(node.content, str) or inner.is_table:
            return (self.value(inner, node, location),)
        return self._fault(location, "must be a list", hint=_as_list(node))

    def _entries(self, shape: Shape, node: Node, location: Location) -> Any:
        if not isinstance(node.content, Mapping):
            return self._fault(location, "must be a mapping", hint=_MAPPING)
        of_keys, of_values = map(shape_of, shape.arguments)
        return {
            self._text(of_keys, key, (*location, key), is_key=True): self.value(
                of_values, child, (*location, key)
            )
            for key, child in node.content.items()
        }

    def _text(self, shape: Shape, text: Any, location: Location, *, is_key: bool = False) -> Any:
        position = self.document.key_position(*location) if is_key else None
        if shape.kind is Literal:
            if text in shape.arguments:
                return text
            *others, last = (f"`{word}`" for word in shape.arguments)
            words = f"{', '.join(others)} or {last}" if others else last
            word = _word_meant(str(text), shape.arguments)
            hint = did_you_mean(word, map(str, shape.arguments), MISTYPED)
            return self._fault(location, f"must be {words}, not {value_text(text)}", position, hint)
        scalar = shape.constraint(Scalar)
        try:
            return scalar.convert(text) if scalar else _converted(shape.kind, text)
        except ValueError as error:
            hint = scalar.hint(text) if scalar and scalar.hint else None
            is_same = hint and f"`{text}`" in hint  # It is right in other places.
            return self._fault(location, str(error), position, None if is_same else hint)

    def _row(self, rows: Mapping[str, object], name: object, location: Location) -> Any:
        if isinstance(name, str) and name in rows:
            return rows[name]
        hint = did_you_mean(name, rows) if isinstance(name, str) else None
        return self._fault(location, f"must name a row, not {value_text(name)}", hint=hint)

    def _unknown(self, location: Location, keys: Mapping[str, object]) -> None:
        name = str(location[-1])
        hint = did_you_mean(_OTHER_KEYS.get(name, name), keys)
        if name == "<<":
            hint = "there are no merge keys: repeat the keys, or take a whole value, `*NAME`"
        position = self.document.key_position(*location)
        problem = Problem(f"unknown key `{dotted(location)}`", position, hint)
        self.faults.append(Fault(location, problem))

    def _fault(
        self,
        location: Location,
        complaint: str,
        position: Position | None = None,
        hint: str | None = None,
    ) -> None:
        name = dotted(location) or "the file"
        where = position or self.document.position(*location)
        self.faults.append(Fault(location, Problem(f"`{name}` {complaint}", where, hint)))
