"""Constraints in annotations of dataclasses: each converts values of a file, and says the same in
JSON Schema. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Literal, NamedTuple

from envmatrix.records import dataclass
from envmatrix.text import one_line

# Characters of an invalid text in a message.
_MOST_SHOWN = 200


@dataclass(frozen=True, eq=False)
class Scalar:
    """A kind of text. `convert` returns its value, or raises ValueError with the complaint;
    `schema` is the same in JSON Schema, as far as it can be, as the definition `name`; `hint`
    suggests another text."""

    name: str
    convert: Callable[[str], object]
    schema: Mapping[str, object]
    hint: Callable[[str], str | None] | None = None


class Mark(Enum):
    """Constraints of lists, and fields of tables that no key of the file sets."""

    NON_EMPTY = auto()
    ONE_OR_MANY = auto()  # the only item may stand alone
    KEY = auto()  # the key of the table in the mapping around it
    DERIVED = auto()  # follows from other files


class Shorthand(NamedTuple):
    """A word that stands for the table with its text under `key`; `meaning` explains it. Without a
    `word`, every text of that key does."""

    word: str | None
    key: str
    meaning: str


class Listed(NamedTuple):
    """A list that stands for the table with it under `key`."""

    key: str


class Place(NamedTuple):
    """A field that holds the position of the table, or of its key `key`."""

    key: str = ""


def pattern(
    name: str, expression: str, expected: str, hint: Callable[[str], str | None] | None = None
) -> Scalar:
    """Return the texts that match an expression; `expected` describes them."""

    def convert(text: str) -> str:
        # `$` matches before a newline at the end as well.
        if re.search(expression, text) and not text.endswith("\n"):
            return text
        raise ValueError(f"must be {expected}, not {value_text(text)}")

    return Scalar(name, convert, {"type": "string", "pattern": expression}, hint)


def number(name: str, least: Literal[0, 1], most: int) -> Scalar:
    """Return the numbers from `least` to `most`, quoted or not. `most` has only nines."""
    positive = f"[1-9][0-9]{{0,{len(str(most)) - 1}}}"
    expression = f"^{positive}$" if least else f"^(0|{positive})$"
    text = pattern(name, expression, f"a number from {least} to {most}")
    integer = {"type": "integer", "minimum": least, "maximum": most}
    schema = {"anyOf": [integer, text.schema]}
    return replace(text, convert=lambda value: int(str(text.convert(value))), schema=schema)


def checked(name: str, check: Callable[[str], object], schema: Mapping[str, object]) -> Scalar:
    """Return the texts that `check` accepts; its ValueError is the complaint, without the text."""

    def convert(text: str) -> object:
        try:
            return check(text)
        except ValueError as error:
            raise ValueError(f"{error}: {value_text(text)}") from None

    return Scalar(name, convert, {"type": "string", **schema})


def value_text(value: object) -> str:
    """Return an invalid value for a message: quoted and shortened, or the kind of it."""
    if isinstance(value, str):
        text = one_line(value[: _MOST_SHOWN + 1])
        return f"`{text[:_MOST_SHOWN]}...`" if len(value) > _MOST_SHOWN else f"`{text}`"
    return "a mapping" if isinstance(value, Mapping) else "a list"
