"""JSON files of a repository, read strictly: what is not as it must be is an error of the user's
with its place or reason, never another value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from envmatrix.errors import ConfigurationError, OutOfDate, Position, Problem
from envmatrix.records import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileFormat(Generic[T]):
    """A file that is `noun`; `readers` convert the document of each version that is read, and
    raise LookupError, TypeError, ValueError or AttributeError for one that is not valid."""

    file: str
    noun: str
    hint: str
    readers: Mapping[int, Callable[[Any], T]]

    def loads(self, text: str) -> T:
        """Raise ConfigurationError if the text is not such a file, OutOfDate for another
        version."""
        try:
            document = json.loads(text)
            version = mapping(document)["version"]
            if type(version) is not int or version not in self.readers:
                newest = max(self.readers)
                message = f"`{self.file}` has version {version!r}, this envmatrix reads {newest}"
                raise OutOfDate(message, hint=self.hint)
            return self.readers[version](document)
        except json.JSONDecodeError as error:
            where = Position(self.file, error.lineno, error.colno)
            raise ConfigurationError(Problem(f"not JSON: {error.msg}", where, self.hint)) from error
        # Also a number or nesting beyond Python's limits.
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            reason = f"missing key {error}" if isinstance(error, KeyError) else error
            message = f"`{self.file}` is not {self.noun}: {reason}"
            raise ConfigurationError(message, hint=self.hint) from error


def _instance(value: object, kind: type[T], noun: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} must be {noun}")
    return value


def string(value: object) -> str:
    text = _instance(value, str, "text")
    if not text.isascii():
        text.encode()  # half a character is no text: UnicodeEncodeError
    return text


def word(value: object) -> str:
    if value == "":
        raise ValueError("'' must not be empty")
    return string(value)


def matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r} does not match {pattern.pattern}")
    return value


def sequence(value: object) -> list[Any]:
    return _instance(value, list, "a list")


def strings(value: object) -> tuple[str, ...]:
    return tuple(map(string, sequence(value)))


def mapping(value: object) -> dict[str, Any]:
    return _instance(value, dict, "a mapping")


def count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} must be a number from 0 on")
    return value
