"""Sources of libraries, resolved to a commit, a changelist, or files by sha256."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envmatrix.errors import Absent, ConfigurationError, LookupFailed
from envmatrix.lock.model import URL, Artifact, PackageSet, Request
from envmatrix.lock.resolvers.pip import ORIGIN, path_in_index
from envmatrix.matrix.library import Library, LibrarySource

COMMIT, CHANGELIST = "commit", "changelist"
# Prefix of the keys of submodules' commits, before their paths.
SUBMODULE = "submodule "

# `arch` of a set that is independent of the architecture.
ANY = "source"

# Prefix of the keys of all sets of libraries.
_PREFIX = "library-"

_KINDS = {"debian": "debian-source"}
RESOLVERS = frozenset({"git", "perforce", "sdist", "debian-source", "archive"})


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of a package index; `size` in bytes."""

    name: str
    url: str
    sha256: str
    size: int
    is_yanked: bool = False


@dataclass(frozen=True)
class Libraries:
    """Functions that look up sources: the files of a project in the package index; the files of a
    source package in a suite; the commits of a revision of a git repository and its submodules; a
    digest of a depot path at a changelist; sha256 and size in bytes of the content of a URL, stored
    if it has the expected sha256; the unpacked files of a stored source, or ConfigurationError."""

    index: Callable[[str], Sequence[IndexFile]]
    source_package: Callable[[str, str], Sequence[Artifact]]
    git: Callable[[str, str], Mapping[str, str]]
    depot: Callable[[str, str], str]
    measure: Callable[[str, str], tuple[str, int]]
    unpack: Callable[[PackageSet], object]

    def resolve(self, request: Request) -> PackageSet:
        place, version = request.packages
        match request.resolver:
            case "git":
                return PackageSet(request, (), versions=self.git(place, version))
            case "perforce":
                return PackageSet(request, (), versions={CHANGELIST: self.depot(place, version)})
            case "sdist":
                return PackageSet(request, (self._sdist(place, version),))
            case "debian-source":
                files = self.source_package(request.suite or "", place)
                return PackageSet(request, tuple(sorted(files)))
        package_set = PackageSet(request, (self._archive(place, version),))
        self._check(package_set)
        return package_set

    def _sdist(self, project: str, version: str) -> Artifact:
        from packaging.utils import canonicalize_name

        name = canonicalize_name(project)
        files = self.index(name)
        for file in files:
            if _parse_sdist(file) == (name, version):
                path = path_in_index(file.url)
                return Artifact(ORIGIN, path, name, version, file.size, file.sha256)
        raise Absent(
            f"the index has no source distribution of `{project}` {version}",
            hint=f"it has {_versions(files)}",
        )

    def _archive(self, url: str, sha256: str) -> Artifact:
        digest, size = self.measure(url, sha256)
        if digest != sha256:
            raise LookupFailed(
                f"`{url}` has the sha256 {digest}, matrix.yaml says {sha256}",
                hint="if it was meant to change, write the new one into matrix.yaml",
            )
        name = re.sub(r"[^\w.+-]", "-", url.rstrip("/").rpartition("/")[2])
        return Artifact(URL, url, name, sha256[:12], size, sha256)

    def _check(self, source: PackageSet) -> None:
        """Raise LookupFailed if the archive cannot be unpacked."""
        try:
            self.unpack(source)
        except ConfigurationError as error:
            url, _ = source.request.packages
            hint = f"is `{url}` an archive of sources, and complete?"
            raise LookupFailed(error.problems[0].message, hint=hint) from error


def _versions(files: Sequence[IndexFile]) -> str:
    versions = [parsed[1] for file in files if (parsed := _parse_sdist(file))]
    return ", ".join(versions[-8:]) or "none at all"


def _parse_sdist(file: IndexFile) -> tuple[str, str] | None:
    """Return project and version of a source distribution; None for any other file."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        project, version = parse_sdist_filename(file.name)
    except InvalidSdistFilename:
        return None
    return project, str(version)


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


def source_request(source: LibrarySource, suite: str | None) -> Request:
    """Return the request for a source; `suite` is only for source packages of Debian."""
    resolver = _KINDS.get(source.kind, source.kind)
    return Request(resolver, ANY, (source.place, source.pin), suite)
