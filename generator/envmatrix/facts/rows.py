"""Access to the facts in `data/`: rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from envmatrix.documents import parse_document

Row = Mapping[str, str]

_DATA = Path(__file__).parent / "data"


def read_data(name: str) -> object:
    return parse_document((_DATA / name).read_bytes(), f"envmatrix/facts/data/{name}").plain()


def mapping(name: str) -> Mapping[str, Mapping[str, object]]:
    return cast("Mapping[str, Mapping[str, object]]", read_data(name))


def rows(value: object) -> Iterator[Row]:
    return iter(cast("list[Row]", value))


def texts(value: object) -> tuple[str, ...]:
    return tuple(cast("list[str]", value))
