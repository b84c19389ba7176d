"""Facts as they are in `data/`: rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from envmatrix.matrix.document import parse

Row = Mapping[str, str]

_DATA = Path(__file__).parent.parent / "data"


def read(name: str) -> object:
    return parse((_DATA / name).read_bytes(), f"envmatrix/data/{name}").plain()


def mapping(name: str) -> Mapping[str, Mapping[str, object]]:
    return cast("Mapping[str, Mapping[str, object]]", read(name))


def rows(value: object) -> Iterator[Row]:
    return iter(cast("list[Row]", value))


def texts(value: object) -> tuple[str, ...]:
    return tuple(cast("list[str]", value))
