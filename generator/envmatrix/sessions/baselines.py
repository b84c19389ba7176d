"""What is known of a library and accepted: findings, sizes, licences, and its ABI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError, Problem
from envmatrix.files import text_of, write_whole

DIRECTORY = "baselines"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of one library in one cell: identities of findings, bytes by file, licences of what is
    linked; None where nothing was ever accepted."""

    findings: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    licences: tuple[str, ...] | None = None


def file_of(root: Path, library: str) -> Path:
    """The file that has a library's baselines, to be committed."""
    return root / DIRECTORY / f"{library}.json"


def abi_of(root: Path, library: str, cell: str, name: str) -> Path:
    """The file that describes the ABI of a shared library, to be committed."""
    return root / DIRECTORY / library / cell / f"{name}.abi"


def load_baseline(root: Path, library: str, cell: str) -> Baseline:
    """An empty one where there is none; ConfigurationError where the file is broken."""
    row = _document(root, library).get(cell, {})
    try:
        licences = row.get("licences")
        return Baseline(
            tuple(map(str, row.get("findings", ()))),
            {str(name): int(size) for name, size in row.get("sizes", {}).items()},
            None if licences is None else tuple(map(str, licences)),
        )
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise _broken(root, library, error) from error


def save_baseline(root: Path, library: str, cell: str, baseline: Baseline) -> None:
    """Accept what is known now, for this cell only."""
    document = {**_document(root, library), cell: asdict(baseline)}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    write_whole(file_of(root, library), text.encode())


def _document(root: Path, library: str) -> dict[str, Any]:
    file = file_of(root, library)
    try:
        found = json.loads(text_of(file, str(file.relative_to(root))))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # also of numbers beyond Python's limits
        raise _broken(root, library, error) from error
    if not isinstance(found, dict):
        raise _broken(root, library, "it is no mapping of cells")
    return found


def _broken(root: Path, library: str, why: object) -> ConfigurationError:
    name = file_of(root, library).relative_to(root)
    hint = "restore it from version control, or remove it and run with `--update-baseline`"
    return ConfigurationError(Problem(f"`{name}` is no baseline: {why}", hint=hint))
