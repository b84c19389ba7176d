"""The files of a repository that define its matrix, and the directory of its builds."""

from __future__ import annotations

from pathlib import Path

from envmatrix.errors import ConfigurationError

MATRIX = "matrix.yaml"
MISNAMED = "matrix.yml"
OVERLAYS = "matrix.d"
FLAVOURS = "envs"
# The directory of all build directories in a repository.
BUILD_ROOT = "build"
_SUFFIXES = (".yaml", ".yml")


def files_of(root: Path) -> tuple[Path, ...]:
    """Return the matrix files of the repository at `root`, overlays and flavours by name, and
    those that are refused."""
    read = (root / MATRIX, *yaml_files(root / OVERLAYS), *yaml_files(root / FLAVOURS))
    return (*read, *unread_files(root))


def require_directories(root: Path) -> None:
    """Raise ConfigurationError if what has the name of a directory of matrix files is none. A link
    to nothing is wrong as well: its files would be left out without a word."""
    for name in (OVERLAYS, FLAVOURS):
        path = root / name
        if path.is_symlink() and not path.exists():
            hint = "correct the link, or remove it"
            raise ConfigurationError(f"`{name}` is a link to what does not exist", hint=hint)
        if path.exists() and not path.is_dir():
            hint = f"move it away; the files of `{name}/` are `{name}/*.yaml`"
            raise ConfigurationError(f"`{name}` is no directory", hint=hint)


def unread_files(root: Path) -> tuple[Path, ...]:
    """Return the files of a repository that look like overlays or flavours, and are none: with
    another suffix, or in a directory of overlays. `envs/` may have directories of other tools."""
    overlays, flavours = root / OVERLAYS, root / FLAVOURS
    read = {*yaml_files(overlays), *yaml_files(flavours)}
    entries = (*overlays.rglob("*"), *flavours.glob("*"))
    return tuple(
        file for file in sorted(entries) if file.suffix.lower() in _SUFFIXES and file not in read
    )


def yaml_files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob("*.yaml")))
