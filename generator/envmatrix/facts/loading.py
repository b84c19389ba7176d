"""Reader of the facts in `facts/data/`, as the annotations of dataclasses type them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envmatrix.schema.decoding import Rows

_DATA = Path(__file__).parent / "data"


def read_facts(name: str, annotation: Any, rows: Rows | None = None) -> Any:
    """Return the content of a file as `annotation` types it; `rows` are those of other files that
    it names. Raise ConfigurationError with all problems."""
    from envmatrix.documents import parse_document  # PyYAML, not where a cache has the facts
    from envmatrix.schema.decoding import decode_all

    document = parse_document((_DATA / name).read_bytes(), f"facts/data/{name}")
    return decode_all(annotation, document, rows)
