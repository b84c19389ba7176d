"""Products of a build: the files that match a library's `artifacts`, and their machines."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from envmatrix.confined import Directory, File, Refused
from envmatrix.errors import EnvmatrixError
from envmatrix.records import dataclass
from envmatrix.sessions import binaries
from envmatrix.text import one_line


@dataclass(frozen=True, slots=True)
class Product:
    """File that a build made, by its path in the build directory, or in records in the library's;
    `machine` is None where it has no machine code, `size` is in bytes; `contents` says what a wheel
    that is fit to publish has."""

    path: str
    machine: str | None
    size: int
    sha256: str = ""
    contents: str = ""

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)


# Kinds of entries of a build directory; a program, library or object is a binary.
Kind: TypeAlias = Literal["binary", "file", "link", "directory", "other"]


# The most that artifacts of a library may have together, in bytes: all of them are hashed.
_LARGEST_PRODUCTS = 16 << 30


def find_products(build: Directory, patterns: Sequence[str]) -> tuple[Product, ...]:
    """Return the files that match, without links."""
    files = build.files(patterns)
    if sum(file.size for file in files) > _LARGEST_PRODUCTS:
        largest = max(files, key=lambda file: file.size)
        raise EnvmatrixError(
            f"the library's `artifacts` have more than {_LARGEST_PRODUCTS >> 30} GB",
            hint=f"the largest is `{one_line(largest.name)}`; make the patterns match less",
        )
    return tuple(_product(build, file) for file in files)


def _product(build: Directory, file: File) -> Product:
    if not file.name.isprintable():
        raise EnvmatrixError(
            f"the artifact `{one_line(file.name)}` has a name that cannot be printed",
            hint="give the file another name, or make `artifacts` match less",
        )
    sha256 = build.sha256(file.name, _LARGEST_PRODUCTS)
    return Product(file.name, machine_of(build, file.name), file.size, sha256)


def machine_of(build: Directory, name: str) -> str | None:
    """Return the machine of a file; for a thin archive that of its members in the build
    directory."""
    with build.open(name) as handle:
        members = binaries.thin_members(handle)
        machines = [binaries.machine(handle)]
    paths = (posixpath.join(posixpath.dirname(name), member) for member in members)
    machines += [_machine_of_member(build, posixpath.normpath(path)) for path in paths]
    return binaries.join_machines(machines)


def _machine_of_member(build: Directory, name: str) -> str | None:
    try:
        with build.open(name) as handle:
            return binaries.machine(handle)
    except Refused:  # outside, or no file
        return None


# More files than that are not looked at to say what there is instead of products.
_MOST_ENTRIES = 20_000


def kinds_of_entries(build: Directory) -> Mapping[str, Kind]:
    """Return the kinds of entries of a build directory, by path."""
    kinds: dict[str, Kind] = {}
    for entry in sorted(build.entries(_MOST_ENTRIES)):
        is_binary = entry.kind == "file" and _machine_of_member(build, entry.name)
        kinds[entry.name] = "binary" if is_binary else entry.kind
    return kinds


# Internal directories of build systems, and the copy of the source.
_OWN = ("CMakeFiles", ".bazel", "meson-private", "meson-info", "source", "reports", "Testing")
_OBJECTS = (".o", ".obj")
_SHOWN = 5


def no_product(patterns: Sequence[str], entries: Mapping[str, Kind]) -> EnvmatrixError:
    """Return the error for a build directory with `entries`, none of which is an artifact."""
    expected = ", ".join(f"`{pattern}`" for pattern in patterns)
    products = [name for name, kind in entries.items() if kind == "binary" and _is_product(name)]
    hints = [*dict.fromkeys(_hints(patterns, entries, products)), _list_products(products)]
    message = f"the build made none of the library's `artifacts`: {expected}"
    return EnvmatrixError(message, hint=one_line("; ".join(hints)))


def _hints(
    patterns: Iterable[str], entries: Mapping[str, Kind], products: Sequence[str]
) -> Iterator[str]:
    from difflib import get_close_matches  # not where nothing is wrong

    for pattern in patterns:
        name = PurePosixPath(pattern).name
        elsewhere = [file for file in products if fnmatchcase(PurePosixPath(file).name, name)]
        by_kind = {kind: path for path, kind in entries.items() if _matches(path, pattern)}
        if "link" in by_kind:
            yield f"`{by_kind['link']}` is a link, not a file: write `{by_kind['link']}*`"
        elif "directory" in by_kind:
            yield f"`{by_kind['directory']}` is a directory: write `{by_kind['directory']}/*`"
        elif similar := elsewhere or get_close_matches(pattern, products, 1):
            yield f"did you mean `{similar[0]}`?"


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
