"""JSON files of a repository, read strictly: what is not as it must be is an error of the user's
with the field and its place, never another value.

A reader takes a value and returns what it stands for, or raises `Invalid`; readers of what is
inside of a value add to the location of the error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from envmatrix.errors import ConfigurationError, OutOfDate, Position, Problem, TooNew
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.documents import Document

T = TypeVar("T")
D = TypeVar("D")
Reader = Callable[[Any], T]

# The most characters of a value in a message.
_LONGEST_VALUE = 80


class Invalid(ValueError):
    """The reason why a value is invalid; `steps` lead to it in its file, and `names` are their
    names."""

    def __init__(
        self, reason: str, steps: Sequence[str | int] = (), names: Sequence[str] = ()
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps = tuple(steps)
        self.names = tuple(names) or tuple(map(str, steps))

    def within(self, step: str | int, name: str = "") -> Invalid:
        """Return the same error of the value that is around this one."""
        return Invalid(self.reason, (step, *self.steps), (name or str(step), *self.names))


@dataclass(frozen=True, slots=True)
class FileFormat(Generic[T]):
    """A file that is `noun`; `readers` convert the document of each version that is read."""

    file: str
    noun: str
    hint: str
    readers: Mapping[int, Reader[T]]

    def loads(self, text: str) -> T:
        """Raise ConfigurationError if the text is not such a file, OutOfDate for another
        version."""
        try:
            document = json.loads(text, object_pairs_hook=_without_duplicates)
            version = field(document, "version", lambda value: value)
            if type(version) is not int or version not in self.readers:
                newest = max(self.readers)
                if type(version) is int and version > newest:
                    message = f"`{self.file}` has version {version}, of a newer envmatrix"
                    hint = "use the envmatrix that wrote it, or a newer one"
                    raise TooNew(f"{message}: this one reads {newest}", hint=hint)
                message = f"`{self.file}` has version {version!r}, this envmatrix reads {newest}"
                raise OutOfDate(message, hint=self.hint)
            return self.readers[version](document)
        except _Duplicate as error:
            raise ConfigurationError(*self._duplicates(text, str(error))) from error
        except json.JSONDecodeError as error:
            where = Position(self.file, error.lineno, error.colno)
            raise ConfigurationError(Problem(f"not JSON: {error.msg}", where, self.hint)) from error
        except Invalid as error:
            subject = f"`{'.'.join(error.names)}`" if error.names else "the document"
            message = f"not {self.noun}: {subject} {error.reason}"
            position = _position(text, self.file, error.steps)
            raise ConfigurationError(Problem(message, position, self.hint)) from error
        # A number or nesting beyond Python's limits.
        except (RecursionError, ValueError) as error:
            message = f"`{self.file}` is not {self.noun}: {error}"
            raise ConfigurationError(message, hint=self.hint) from error

    def _duplicates(self, text: str, key: str) -> Sequence[Problem]:
        """Return the problem of each key that a mapping has twice, of which `key` is one."""
        document = _document(text, self.file)
        if document and document.problems:
            return [replace(problem, hint=self.hint) for problem in document.problems]
        message = f"`{self.file}` is not {self.noun}: it has {in_words(key)} twice"
        return [Problem(message, hint=self.hint)]


class _Duplicate(ValueError):
    """A mapping has a key twice, so one of the two values would be ignored."""


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _Duplicate(key)
    return row


def _position(text: str, file: str, steps: Sequence[str | int]) -> Position:
    """Return the position of a value, or of the nearest value around it."""
    document = _document(text, file)
    return document.position(*steps) if document else Position(file, 1, 1)


def _document(text: str, file: str) -> Document | None:
    """Return a document with positions; None if the text is JSON and no YAML, as with half a
    character in it."""
    from envmatrix.documents import parse_document  # only for a message

    try:
        return parse_document(text.encode("utf-8", "replace"), file)
    except ConfigurationError:
        return None


def only(row: object, keys: Collection[str]) -> dict[str, Any]:
    """Return a mapping, all of whose keys are of these."""
    fields = mapping(row)
    if unknown := fields.keys() - set(keys):
        raise Invalid("is an unknown key", [min(unknown)])
    return fields


def field(row: object, name: str, read: Reader[T]) -> T:
    """Return the value of a key that a mapping must have."""
    fields = mapping(row)
    if name not in fields:
        raise Invalid(f"lacks the key `{name}`")
    return _inside(fields[name], name, read)


def optional(row: object, name: str, read: Reader[T], default: D) -> T | D:
    """Return the value of a key that a mapping may have."""
    fields = mapping(row)
    return _inside(fields[name], name, read) if name in fields else default


def column(row: Sequence[object], number: int, name: str, read: Reader[T]) -> T:
    """Return a value of a row, whose column has a name."""
    try:
        return read(row[number])
    except Invalid as error:
        raise error.within(number, name) from error


def items(value: object, read: Reader[T]) -> list[T]:
    """Return the items of a list."""
    return [_inside(item, number, read) for number, item in enumerate(sequence(value))]


def entries(value: object, read: Reader[T]) -> dict[str, T]:
    """Return the entries of a mapping, in its order."""
    return {key: _inside(item, key, read) for key, item in mapping(value).items()}


def _inside(value: object, step: str | int, read: Reader[T]) -> T:
    try:
        return read(value)
    except Invalid as error:
        raise error.within(step) from error


def _instance(value: object, kind: type[T], noun: str) -> T:
    if not isinstance(value, kind):
        raise Invalid(f"must be {noun}, not {in_words(value)}")
    return value


def in_words(value: object) -> str:
    """Return a value as its file has it, shortened."""
    text = json.dumps(value)
    short = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
    return f"`{short}`"


def string(value: object) -> str:
    text = _instance(value, str, "text")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise Invalid("has half a character") from error
    return text


def word(value: object) -> str:
    if value == "":
        raise Invalid("must not be empty")
    return string(value)


def matching(pattern: re.Pattern[str]) -> Reader[str]:
    """Return the reader of text that matches a pattern."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise Invalid(f"does not match {pattern.pattern}: {in_words(value)}")
        return value

    return read


def sequence(value: object, length: int | None = None) -> list[Any]:
    """Return a list, optionally of that many items."""
    values: list[Any] = _instance(value, list, "a list")
    if length is not None and len(values) != length:
        raise Invalid(f"must have {length} items: {in_words(value)}")
    return values


def strings(value: object) -> tuple[str, ...]:
    return tuple(items(value, string))


def mapping(value: object) -> dict[str, Any]:
    return _instance(value, dict, "a mapping")


def count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise Invalid(f"must be a number from 0 on, not {in_words(value)}")
    return value
