"""The names that sessions go by, kept so that listing thousands stays fast."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from envmatrix import __version__
from envmatrix.store.artifacts import cache_directory


@dataclass(frozen=True, slots=True)
class SessionNames:
    """`cells` are the ids; `all` is name -> id, the ids and the short names; `libraries` are those
    that each cell is for."""

    cells: tuple[str, ...]
    all: Mapping[str, str]
    libraries: Mapping[str, Sequence[str]]


def session_names(root: Path) -> SessionNames:
    """What `root`'s matrix names, from the cache where none of its files changed."""
    kept = cache_directory() / "sessions" / f"{_identity(root)}.json"
    try:
        document = json.loads(kept.read_text(encoding="utf-8"))
        return SessionNames(tuple(document["cells"]), document["all"], document["libraries"])
    except (OSError, ValueError, KeyError):
        names = _read(root)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_suffix(f".{id(names)}")
        scratch.write_text(json.dumps(asdict(names)))
        scratch.replace(kept)
    except OSError:
        pass  # a cache that cannot be written only costs time
    return names


def _identity(root: Path) -> str:
    """Changes with the files of the matrix, the facts and the code that reads them."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256(__version__.encode())
    files = sorted([*root.glob("matrix.d/*.yaml"), *root.glob("envs/*.yaml")])
    for file in (root / "matrix.yaml", *files):
        name = file.relative_to(root).as_posix()
        digest.update(name.encode() + (file.read_bytes() if file.is_file() else b""))
    for file in sorted([*package.glob("matrix/*.py"), *package.glob("data/*.yaml")]):
        digest.update(f"{file.name} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def _read(root: Path) -> SessionNames:
    from envmatrix.matrix.libraries import is_for
    from envmatrix.matrix.loading import load_matrix  # pydantic: not when the cache answers
    from envmatrix.matrix.selection import short_names

    matrix = load_matrix(root)
    cells = tuple(cell.id for cell in matrix.cells)
    short = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [its.name for its in matrix.libraries if is_for(its, cell, matrix)]
        for cell in matrix.cells
    }
    return SessionNames(cells, {**short, **dict(zip(cells, cells, strict=True))}, libraries)
