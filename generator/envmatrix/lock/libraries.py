"""Where libraries come from, looked up once: a commit, a changelist, or files by sha256."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envmatrix.errors import Absent, ConfigurationError, LookupFailed
from envmatrix.lock.model import URL, Artifact, PackageSet, Request
from envmatrix.lock.pip import ORIGIN, path_in_index
from envmatrix.matrix.model import Library, LibrarySource

COMMIT, CHANGELIST = "commit", "changelist"
# How the keys of the commits of submodules begin, before their paths.
SUBMODULE = "submodule "

# What `arch` is of a set that is for no architecture.
ANY = "source"

# How the keys of all sets of libraries begin.
_PREFIX = "library-"

_KINDS = {"debian": "debian-source"}
RESOLVERS = frozenset({"git", "perforce", "sdist", "debian-source", "archive"})


@dataclass(frozen=True, slots=True)
class File:
    """A file of a package index; `size` in bytes."""

    name: str
    url: str
    sha256: str
    size: int
    is_yanked: bool = False


@dataclass(frozen=True)
class Libraries:
    """What it takes to look up sources: the files of a project in the package index; those of a
    source package of an operating system's suite; the commits of a revision of a git repository,
    submodules too; a digest of a depot path at a changelist; sha256 and size of what is at a URL,
    which is kept where it has the sha256 that is wanted; and the files of a source that is kept, a
    ConfigurationError where they cannot be had of it."""

    index: Callable[[str], Sequence[File]]
    source_package: Callable[[str, str], Sequence[Artifact]]
    git: Callable[[str, str], Mapping[str, str]]
    depot: Callable[[str, str], str]
    measured: Callable[[str, str], tuple[str, int]]
    unpacked: Callable[[PackageSet], object]

    def resolve(self, request: Request) -> PackageSet:
        place, version = request.packages
        match request.resolver:
            case "git":
                return PackageSet(request, (), found=self.git(place, version))
            case "perforce":
                return PackageSet(request, (), found={CHANGELIST: self.depot(place, version)})
            case "sdist":
                return PackageSet(request, (self._sdist(place, version),))
            case "debian-source":
                files = self.source_package(request.suite or "", place)
                return PackageSet(request, tuple(sorted(files)))
        found = PackageSet(request, (self._archive(place, version),))
        self._check(found)
        return found

    def _sdist(self, project: str, version: str) -> Artifact:
        from packaging.utils import canonicalize_name

        name = canonicalize_name(project)
        files = self.index(name)
        for file in files:
            if _parsed(file) == (name, version):
                path = path_in_index(file.url)
                return Artifact(ORIGIN, path, name, version, file.size, file.sha256)
        raise Absent(
            f"the index has no source distribution of `{project}` {version}",
            hint=f"it has {_versions(files)}",
        )

    def _archive(self, url: str, sha256: str) -> Artifact:
        found, size = self.measured(url, sha256)
        if found != sha256:
            raise LookupFailed(
                f"`{url}` has the sha256 {found}, matrix.yaml says {sha256}",
                hint="if it was meant to change, write the new one into matrix.yaml",
            )
        name = re.sub(r"[^\w.+-]", "-", url.rstrip("/").rpartition("/")[2])
        return Artifact(URL, url, name, sha256[:12], size, sha256)

    def _check(self, source: PackageSet) -> None:
        """Refuse a source that no library could be built of."""
        try:
            self.unpacked(source)
        except ConfigurationError as error:
            url, _ = source.request.packages
            hint = f"is `{url}` an archive of sources, and complete?"
            raise LookupFailed(error.problems[0].message, hint=hint) from error


def _versions(files: Sequence[File]) -> str:
    versions = [found[1] for file in files if (found := _parsed(file))]
    return ", ".join(versions[-8:]) or "none at all"


def _parsed(file: File) -> tuple[str, str] | None:
    """Project and version of a source distribution; None of any other file."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        project, version = parse_sdist_filename(file.name)
    except InvalidSdistFilename:
        return None
    return project, str(version)


def source_set(library: Library) -> str:
    """The key of the set that has a library's source."""
    return f"{_PREFIX}{library.name}"


def of_library(key: str, error: LookupFailed) -> LookupFailed:
    """An error about the source that the set `key` has, with the name of its library."""
    message = f"library `{key.removeprefix(_PREFIX)}`: {error.message}"
    return type(error)(message, details=error.details, hint=error.hint)


def wheels_set(library: Library, os: str, arch: str) -> str:
    """The key of the wheels that a library is built with; `arch` is Docker's name."""
    return f"{wheels_prefix(library)}{os}-{arch}"


def wheels_prefix(library: Library) -> str:
    """How the keys of all sets of a library's wheels begin."""
    return f"{_PREFIX}{library.name}-wheels-"


def source_request(source: LibrarySource, suite: str | None) -> Request:
    """`suite` is that of a source package's operating system."""
    resolver = _KINDS.get(source.kind, source.kind)
    return Request(resolver, ANY, (source.place, source.version), suite)
