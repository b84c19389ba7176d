"""Sets of libraries: their sources, and the wheels that they are built with."""

from __future__ import annotations

from dataclasses import dataclass

from envmatrix.errors import LookupFailed
from envmatrix.lock.model import SourceRequest
from envmatrix.matrix.library import Library, LibrarySource

COMMIT, CHANGELIST = "commit", "changelist"
# Prefix of the keys of submodules' commits, before their paths.
SUBMODULE = "submodule "

# Prefix of the keys of all sets of libraries.
_PREFIX = "library-"

_KINDS = {"debian": "debian-source"}


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of a package index; `size` in bytes."""

    name: str
    url: str
    sha256: str
    size: int
    is_yanked: bool = False


def source_set(library: Library) -> str:
    """Return the key of the set of a library's source."""
    return f"{_PREFIX}{library.name}"


def library_error(key: str, error: LookupFailed) -> LookupFailed:
    """Return `error` about the source set `key`, prefixed with the name of its library."""
    message = f"library `{key.removeprefix(_PREFIX)}`: {error.message}"
    return type(error)(message, details=error.details, hint=error.hint)


def wheels_set(library: Library, os: str, arch: str) -> str:
    """Return the key of the wheels that a library is built with; `arch` is Docker's name."""
    return f"{wheels_prefix(library)}{os}-{arch}"


def wheels_prefix(library: Library) -> str:
    """Return the prefix of the keys of all sets of a library's wheels."""
    return f"{_PREFIX}{library.name}-wheels-"


def source_request(source: LibrarySource, suite: str | None) -> SourceRequest:
    """Return the request for a source; `suite` is only for source packages of Debian."""
    resolver = _KINDS.get(source.kind, source.kind)
    return SourceRequest(resolver, source.place, suite or source.pin)
