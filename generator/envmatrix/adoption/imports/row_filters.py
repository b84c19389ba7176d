"""Filters of jq as callers of RAPIDS' shared workflows write them in `matrix_filter`: a small part
of the language, for lists of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cmp_to_key
from itertools import groupby
from typing import TypeAlias

Value: TypeAlias = "str | float | bool | list[Value] | dict[str, Value] | None"
_Filter: TypeAlias = Callable[[Value], Value]

_LEXEME = re.compile(
    r'\s*(?P<word>"(?:[^"\\]|\\.)*"|\.?[A-Za-z_]\w*|\d+|==|!=|<=|>=|[|()\[\]{},.<>:])\s*', re.ASCII
)
_LONGEST = 2_000
_DEEPEST = 50
_KINDS = (type(None), bool, float, str, list, dict)


class NotEvaluated(Exception):
    """A filter has what is not known here, or what its rows have no value for."""


def apply_filter(text: str, rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, Value]]:
    """Return what a filter makes of rows. Raise NotEvaluated if that cannot be told."""
    words = [*_words(text)]
    parser = _Parser(words)
    program = parser.pipeline()
    if parser.words:
        raise NotEvaluated
    result = program([{**row} for row in rows])
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise NotEvaluated
    return [row for row in result if isinstance(row, dict)]


def _words(text: str) -> Iterator[str]:
    position = 0
    text = text.strip()
    if len(text) > _LONGEST:
        raise NotEvaluated
    while position < len(text):
        match = _LEXEME.match(text, position)
        if match is None:
            raise NotEvaluated
        yield match["word"]
        position = match.end()


class _Parser:
    """Makes functions of words, from the operator that binds least."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._depth = 0

    def _take(self, *expected: str) -> str:
        if not self.words or (expected and self.words[0] not in expected):
            raise NotEvaluated
        return self.words.pop(0)

    def _next_is(self, *words: str) -> bool:
        return bool(self.words) and self.words[0] in words

    def pipeline(self) -> _Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotEvaluated
        stages = [self._alternatives()]
        while self._next_is("|"):
            self._take()
            stages.append(self._alternatives())
        self._depth -= 1
        return lambda value: _piped(stages, value)

    def _alternatives(self) -> _Filter:
        parts = [self._conjunction()]
        while self._next_is("or"):
            self._take()
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else lambda value: any(map(_is_true, _all(parts, value)))

    def _conjunction(self) -> _Filter:
        parts = [self._comparison()]
        while self._next_is("and"):
            self._take()
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else lambda value: all(map(_is_true, _all(parts, value)))

    def _comparison(self) -> _Filter:
        left = self._term()
        if not self._next_is("==", "!=", "<", ">", "<=", ">="):
            return left
        operator, right = self._take(), self._term()
        return lambda value: _compared(operator, _compare(left(value), right(value)))

    def _term(self) -> _Filter:
        word = self._take()
        if word == "(":
            inner = self.pipeline()
            self._take(")")
            return inner
        if word == "[":
            return self._list()
        if word == "{":
            return self._mapping()
        if word.startswith('"'):
            text = _text(word)
            return lambda _: text
        if word.isdigit():
            number = float(word)
            return lambda _: number
        if word == ".":
            return self._index() if self._next_is("[") else lambda value: value
        if word.startswith("."):
            return lambda value: _entry(value, word[1:])
        return self._call(word)

    def _index(self) -> _Filter:
        self._take("[")
        number = self._take()
        self._take("]")
        if not number.isdigit():
            raise NotEvaluated
        return lambda value: _item(value, int(number))

    def _list(self) -> _Filter:
        parts = [self.pipeline()]
        while self._next_is(","):
            self._take()
            parts.append(self.pipeline())
        self._take("]")
        return lambda value: [*_all(parts, value)]

    def _mapping(self) -> _Filter:
        names = [self._take()]
        while self._next_is(","):
            self._take()
            names.append(self._take())
        self._take("}")
        if not all(re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) for name in names):
            raise NotEvaluated
        return lambda value: {name: _entry(value, name) for name in names}

    def _call(self, name: str) -> _Filter:
        if name in _WORDS:
            return _WORDS[name]
        if name not in _FUNCTIONS:
            raise NotEvaluated
        self._take("(")
        parts = [self.pipeline()]
        while name.endswith("_by") and self._next_is(","):
            self._take()
            parts.append(self.pipeline())
        self._take(")")
        function = _FUNCTIONS[name]
        argument = parts[0] if len(parts) == 1 else lambda value: [*_all(parts, value)]
        return lambda value: function(value, argument)


def _piped(stages: Sequence[_Filter], value: Value) -> Value:
    for stage in stages:
        value = stage(value)
    return value


def _all(parts: Sequence[_Filter], value: Value) -> Iterator[Value]:
    return (part(value) for part in parts)


def _is_true(value: Value) -> bool:
    return value is not None and value is not False


def _text(word: str) -> str:
    try:
        return str(json.loads(word))
    except ValueError:
        raise NotEvaluated from None


def _entry(value: Value, name: str) -> Value:
    if not isinstance(value, dict):
        raise NotEvaluated
    return value.get(name)


def _item(value: Value, index: int) -> Value:
    items = _items(value)
    return items[index] if index < len(items) else None


def _items(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise NotEvaluated
    return value


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise NotEvaluated
    return value


def _compare(left: Value, right: Value) -> int:
    """Return which value comes first in the order of jq."""
    if type(left) is not type(right):
        return _KINDS.index(type(left)) - _KINDS.index(type(right))
    if isinstance(left, list) and isinstance(right, list):
        differences = (_compare(one, other) for one, other in zip(left, right, strict=False))
        return next(filter(None, differences), len(left) - len(right))
    if isinstance(left, dict) and isinstance(right, dict):
        keys: tuple[list[Value], list[Value]] = ([*sorted(left)], [*sorted(right)])
        return _compare(*keys) or _compare(
            [left[key] for key in sorted(left)], [right[key] for key in sorted(right)]
        )
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if isinstance(left, float) and isinstance(right, float):
        return (left > right) - (left < right)
    return bool(left) - bool(right)


def _compared(operator: str, order: int) -> bool:
    return {
        "==": order == 0,
        "!=": order != 0,
        "<": order < 0,
        ">": order > 0,
        "<=": order <= 0,
        ">=": order >= 0,
    }[operator]


def _sorted(value: Value, key: _Filter) -> list[Value]:
    return sorted(_items(value), key=lambda item: cmp_to_key(_compare)(key(item)))


def _groups(value: Value, key: _Filter) -> list[list[Value]]:
    rows = _sorted(value, key)
    return [[*group] for _, group in groupby(rows, key=lambda row: cmp_to_key(_compare)(key(row)))]


def _grouped(value: Value, key: _Filter) -> Value:
    return [*_groups(value, key)]


def _mapped(value: Value, argument: _Filter) -> Value:
    results = (argument(item) for item in _items(value))
    return [result for result in results if result is not _NOTHING]


def _selected(value: Value, argument: _Filter) -> Value:
    return value if _is_true(argument(value)) else _NOTHING


def _split(value: Value, argument: _Filter) -> Value:
    separator = _string(argument(value))
    if not separator:
        raise NotEvaluated
    return [*_string(value).split(separator)]


def _number(value: Value) -> Value:
    try:
        return float(_string(value))
    except ValueError:
        raise NotEvaluated from None


# What `select` leaves of a row that does not hold; `map` drops it.
_NOTHING: Value = ["nothing"]

_WORDS: Mapping[str, _Filter] = {
    "not": lambda value: not _is_true(value),
    "tonumber": _number,
    "length": lambda value: float(len(_items(value))),
    "first": lambda value: _item(value, 0),
    "last": lambda value: (_items(value) or [None])[-1],
    "true": lambda _: True,
    "false": lambda _: False,
    "null": lambda _: None,
}
_FUNCTIONS: Mapping[str, Callable[[Value, _Filter], Value]] = {
    "map": _mapped,
    "select": _selected,
    "split": _split,
    "startswith": lambda value, part: _string(value).startswith(_string(part(value))),
    "endswith": lambda value, part: _string(value).endswith(_string(part(value))),
    "sort_by": _sorted,
    "group_by": _grouped,
    "unique_by": lambda value, key: [group[0] for group in _groups(value, key)],
    "max_by": lambda value, key: (_sorted(value, key) or [None])[-1],
    "min_by": lambda value, key: (_sorted(value, key) or [None])[0],
}
