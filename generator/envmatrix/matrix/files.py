"""The files of a repository that define its matrix."""

from __future__ import annotations

from pathlib import Path

MATRIX = "matrix.yaml"
OVERLAYS = "matrix.d"
FLAVOURS = "envs"


def files_of(root: Path) -> tuple[Path, ...]:
    """Return the matrix files of the repository at `root`; overlays and flavours by name."""
    return (root / MATRIX, *yaml_files(root / OVERLAYS), *yaml_files(root / FLAVOURS))


def yaml_files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob("*.yaml")))
