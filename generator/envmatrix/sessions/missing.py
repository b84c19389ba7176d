"""What to say where `artifacts` match nothing: what was expected, and what exists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from envmatrix.errors import EnvmatrixError

# What is in a build directory: a program, library or object, another file, a link, a directory, or
# what is none of these.
Kind: TypeAlias = Literal["binary", "file", "link", "directory", "other"]

# What build systems write for themselves, and the copy of the source.
_OWN = ("CMakeFiles", ".bazel", "meson-private", "meson-info", "source", "reports", "Testing")
_OBJECTS = (".o", ".obj")
_SHOWN = 5


def no_artifact(patterns: Sequence[str], entries: Mapping[str, Kind]) -> EnvmatrixError:
    """The error for a build whose directory has `entries`, none of which is an artifact."""
    expected = ", ".join(f"`{pattern}`" for pattern in patterns)
    made = [name for name, kind in entries.items() if kind == "binary" and _is_made(name)]
    hints = [*dict.fromkeys(_explained(patterns, entries, made)), _listed(made)]
    return EnvmatrixError(
        f"the build made none of the library's `artifacts`: {expected}", hint="; ".join(hints)
    )


def _explained(
    patterns: Iterable[str], entries: Mapping[str, Kind], made: Sequence[str]
) -> Iterator[str]:
    for pattern in patterns:
        name = PurePosixPath(pattern).name
        elsewhere = [file for file in made if fnmatchcase(PurePosixPath(file).name, name)]
        matched = {kind: path for path, kind in entries.items() if _matches(path, pattern)}
        if "link" in matched:
            yield f"`{matched['link']}` is a link, not a file: write `{matched['link']}*`"
        elif "directory" in matched:
            yield f"`{matched['directory']}` is a directory: write `{matched['directory']}/*`"
        elif elsewhere:
            yield f"did you mean `{elsewhere[0]}`?"
        elif near := get_close_matches(pattern, made, 1):
            yield f"did you mean `{near[0]}`?"


def _matches(path: str, pattern: str) -> bool:
    """Whether a glob means a path; `*` does not stand for several directories."""
    depth = len(PurePosixPath(pattern).parts)
    is_deep = "**" in PurePosixPath(pattern).parts
    of_depth = is_deep or len(PurePosixPath(path).parts) == depth
    return of_depth and fnmatchcase(path, pattern)


def _is_made(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix not in _OBJECTS and not set(path.parts) & set(_OWN)


def _listed(made: Sequence[str]) -> str:
    if not made:
        return (
            "the build made no program and no library; leave `artifacts` out where there is none, "
            "as of headers alone"
        )
    more = f" and {len(made) - _SHOWN} more" if len(made) > _SHOWN else ""
    return f"the build made {', '.join(f'`{name}`' for name in made[:_SHOWN])}{more}"
