"""The files of a repository that define its matrix, and the directory of its builds."""

from __future__ import annotations

from pathlib import Path

MATRIX = "matrix.yaml"
MISNAMED = "matrix.yml"
OVERLAYS = "matrix.d"
FLAVOURS = "envs"
# The directory of all build directories in a repository.
BUILD_ROOT = "build"


def files_of(root: Path) -> tuple[Path, ...]:
    """Return the matrix files of the repository at `root`; overlays and flavours by name."""
    return (root / MATRIX, *yaml_files(root / OVERLAYS), *yaml_files(root / FLAVOURS))


def yaml_files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob("*.yaml")))
