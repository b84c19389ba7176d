"""Sources of libraries, resolved to a commit, a changelist, or files by sha256."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from envmatrix.errors import Absent, ConfigurationError, LookupFailed
from envmatrix.lock.model import CHANGELIST, URL, Artifact, PackageSet, SourceRequest
from envmatrix.lock.resolvers.pip import path_in_index
from envmatrix.lock.resolvers.protocol import ResolvedSets
from envmatrix.machine.configuration import PYPI
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of a package index; `size` in bytes."""

    name: str
    url: str
    sha256: str
    size: int
    is_yanked: bool = False


# The newest versions that a hint has.
_MOST_VERSIONS = 8
# Commits of a revision of a repository and of its submodules.
Commits = Callable[[str, str], Mapping[str, str]]
# A digest of a depot path at a changelist.
Depot = Callable[[str, str], str]
# The files of a project in the package index.
Index = Callable[[str], Sequence[IndexFile]]
# Raises LookupFailed if no server has a file.
Require = Callable[[Artifact], object]
# The sha256 and the size in bytes of the content of a URL, which is stored if it has the expected
# sha256.
Measure = Callable[[str, str], tuple[str, int]]
# Unpacks a stored source, or raises ConfigurationError.
Unpack = Callable[[PackageSet], object]


def git(commits: Commits, request: SourceRequest, _sets: object) -> PackageSet:
    return PackageSet(request, (), versions=commits(request.place, request.pin))


def perforce(depot: Depot, request: SourceRequest, _sets: object) -> PackageSet:
    return PackageSet(request, (), versions={CHANGELIST: depot(request.place, request.pin)})


def sdist(index: Index, require: Require, request: SourceRequest, _sets: object) -> PackageSet:
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    name, version = canonicalize_name(request.place), request.pin
    files = [(parsed, file) for file in index(name) if (parsed := _parse_sdist(file))]
    file = next((file for parsed, file in files if parsed == (name, version)), None)
    if file is None:
        every = sorted({parsed[1] for parsed, _ in files}, key=Version)
        versions = ", ".join(every[-_MOST_VERSIONS:]) or "none at all"
        message = f"the index has no source distribution of `{request.place}` {version}"
        raise Absent(message, hint=f"it has {versions}")
    artifact = Artifact(PYPI, path_in_index(file.url), name, version, file.size, file.sha256)
    require(artifact)
    return PackageSet(request, (artifact,))


def debian_source(require: Require, request: SourceRequest, sets: ResolvedSets) -> PackageSet:
    apt = sets.backend.apt_of_host(request.pin, sets.backend.host_arch)
    artifacts = apt.sources(request.place)
    for artifact in artifacts:
        require(artifact)
    return PackageSet(request, artifacts)


def archive(measure: Measure, unpack: Unpack, request: SourceRequest, _sets: object) -> PackageSet:
    url, sha256 = request.place, request.pin
    if ".." in url.split("/"):  # no path of a lock has it
        raise LookupFailed(f"`{url}` has `..` in its path", hint="write it without in matrix.yaml")
    digest, size = measure(url, sha256)
    if digest != sha256:
        hint = "if it was meant to change, write the new one into matrix.yaml"
        raise LookupFailed(f"`{url}` has the sha256 {digest}, matrix.yaml says {sha256}", hint=hint)
    name = re.sub(r"[^\w.+-]", "-", url.rstrip("/").rpartition("/")[2])
    source = PackageSet(request, (Artifact(URL, url, name, sha256[:12], size, sha256),))
    try:
        unpack(source)
    except ConfigurationError as error:
        hint = f"is `{url}` an archive of sources, and complete?"
        raise LookupFailed(error.problems[0].message, hint=hint) from error
    return source


def _parse_sdist(file: IndexFile) -> tuple[str, str] | None:
    """Return project and version of a source distribution; None for any other file."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        project, version = parse_sdist_filename(file.name)
    except InvalidSdistFilename:
        return None
    return project, str(version)
