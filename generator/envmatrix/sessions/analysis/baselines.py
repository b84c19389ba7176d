"""Accepted findings, sizes, licences and ABIs of libraries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError
from envmatrix.files import text_of, write_whole
from envmatrix.records import dataclass
from envmatrix.sessions.analysis.findings import Finding

DIRECTORY = "baselines"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Baseline of one library in one cell: identities of findings, sizes in bytes by file, and
    licences of linked packages; None where none were ever accepted."""

    findings: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    licences: tuple[str, ...] | None = None

    def updated(self, findings: Iterable[Finding], others: Baseline) -> Baseline:
        """Return the baseline that accepts findings, and the sizes and licences of `others`."""
        identities = {finding.identity for finding in findings}
        return Baseline(
            tuple(sorted({*self.findings, *identities})),
            {**self.sizes, **others.sizes},
            self.licences if others.licences is None else others.licences,
        )


NOTHING = Baseline()


def baseline_file(root: Path, library: str) -> Path:
    """Return the file of a library's baselines, which is to be committed."""
    return root / DIRECTORY / f"{library}.json"


def load_baseline(root: Path, library: str, cell: str) -> Baseline:
    """Load a baseline, empty where the file does not exist; ConfigurationError where it is
    invalid."""
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
    """Replace the baseline of this cell only."""
    document = {**_document(root, library), cell: asdict(baseline)}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    write_whole(baseline_file(root, library), text.encode())


def _document(root: Path, library: str) -> dict[str, Any]:
    file = baseline_file(root, library)
    try:
        document = json.loads(text_of(file, str(file.relative_to(root))))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # also of numbers beyond Python's limits
        raise _broken(root, library, error) from error
    if not isinstance(document, dict):
        raise _broken(root, library, "it is no mapping of cells")
    return document


def _broken(root: Path, library: str, reason: object) -> ConfigurationError:
    name = baseline_file(root, library).relative_to(root)
    hint = "restore it from version control, or remove it and run with `--update-baseline`"
    return ConfigurationError(f"`{name}` is no baseline: {reason}", hint=hint)
