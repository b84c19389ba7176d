"""Error for `artifacts` that match nothing: expected patterns and existing files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from envmatrix.errors import EnvmatrixError

# Kinds of entries of a build directory; a program, library or object is a binary.
Kind: TypeAlias = Literal["binary", "file", "link", "directory", "other"]

# Internal directories of build systems, and the copy of the source.
_OWN = ("CMakeFiles", ".bazel", "meson-private", "meson-info", "source", "reports", "Testing")
_OBJECTS = (".o", ".obj")
_SHOWN = 5


def no_artifact(patterns: Sequence[str], entries: Mapping[str, Kind]) -> EnvmatrixError:
    """Return the error for a build directory with `entries`, none of which is an artifact."""
    expected = ", ".join(f"`{pattern}`" for pattern in patterns)
    products = [name for name, kind in entries.items() if kind == "binary" and _is_product(name)]
    hints = [*dict.fromkeys(_hints(patterns, entries, products)), _list_products(products)]
    return EnvmatrixError(
        f"the build made none of the library's `artifacts`: {expected}", hint="; ".join(hints)
    )


def _hints(
    patterns: Iterable[str], entries: Mapping[str, Kind], products: Sequence[str]
) -> Iterator[str]:
    for pattern in patterns:
        name = PurePosixPath(pattern).name
        elsewhere = [file for file in products if fnmatchcase(PurePosixPath(file).name, name)]
        by_kind = {kind: path for path, kind in entries.items() if _matches(path, pattern)}
        if "link" in by_kind:
            yield f"`{by_kind['link']}` is a link, not a file: write `{by_kind['link']}*`"
        elif "directory" in by_kind:
            yield f"`{by_kind['directory']}` is a directory: write `{by_kind['directory']}/*`"
        elif elsewhere:
            yield f"did you mean `{elsewhere[0]}`?"
        elif close_matches := get_close_matches(pattern, products, 1):
            yield f"did you mean `{close_matches[0]}`?"


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path matches a glob; `*` does not match several directories."""
    depth = len(PurePosixPath(pattern).parts)
    is_deep = "**" in PurePosixPath(pattern).parts
    of_depth = is_deep or len(PurePosixPath(path).parts) == depth
    return of_depth and fnmatchcase(path, pattern)


def _is_product(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix not in _OBJECTS and not set(path.parts) & set(_OWN)


def _list_products(products: Sequence[str]) -> str:
    if not products:
        return (
            "the build made no program and no library; leave `artifacts` out where there is none, "
            "as of headers alone"
        )
    more = f" and {len(products) - _SHOWN} more" if len(products) > _SHOWN else ""
    return f"the build made {', '.join(f'`{name}`' for name in products[:_SHOWN])}{more}"
