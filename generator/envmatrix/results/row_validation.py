"""Validation of the store's rows: invalid ones are counted and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from envmatrix.results.database import LEFT_OUT
from envmatrix.results.records import InvalidRecord

_T = TypeVar("_T")


def valid_rows(
    connection: sa.Connection, table: sa.Table, rows: Iterable[Any], make: Callable[[Any], _T]
) -> Iterator[tuple[Any, _T]]:
    """Yield each valid row with the value that `make` returns for it; count invalid rows."""
    for row in rows:
        try:
            yield row, make(row)
        except (InvalidRecord, AttributeError, OverflowError, TypeError, ValueError):
            connection.info.setdefault(LEFT_OUT, Counter())[table.name] += 1


def invalid_row_counts(connection: sa.Connection) -> Mapping[str, int]:
    """Return the number of invalid rows by table, of those that were read so far."""
    counts: Mapping[str, int] = connection.info.get(LEFT_OUT, {})
    return counts


def check_texts(*values: object) -> None:
    if not all(isinstance(value, str) for value in values):
        raise InvalidRecord("a name is not text")
