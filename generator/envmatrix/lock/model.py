"""The lock as values: requests to resolvers, and the artifacts that answer each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import SignedArchive
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.matrix.cells import Candidate
    from envmatrix.matrix.library import Library

# The origin of a file that a library names by its whole URL, which is its path then.
URL = "url"

# `arch` of a source, which is independent of the architecture.
ANY = "source"

# Keys of the revisions of a source.
COMMIT, CHANGELIST = "commit", "changelist"
# Prefix of the keys of submodules' commits, before their paths.
SUBMODULE = "submodule "

SHA256 = re.compile(r"[0-9a-f]{64}")

# The most bytes of a decoded tar that excerpts are made of.
LARGEST_TAR = 1 << 36


@dataclass(frozen=True, slots=True, order=True)
class Artifact:
    """One file: `path` within `origin`, `size` in bytes, identified by its sha256."""

    origin: str
    path: str
    name: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def downloaded(self) -> int:
        """The bytes of the file."""
        return self.size


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Consecutive bytes of a file from `offset` on, `size` of them, identified by their sha256."""

    offset: int
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.sha256[:12]}-{self.offset}"

    @property
    def span(self) -> tuple[int, int]:
        return self.offset, self.size


@dataclass(frozen=True, slots=True, order=True)
class Excerpt:
    """The members of an archive that a set's images use, as an archive of its own with `size` bytes
    and its sha256. It is made of `ranges` of the whole file; `patterns` select its members.

    A tar in the archive is cut at `spans`: offsets and sizes in its decoded bytes.
    """

    artifact: Artifact
    patterns: tuple[str, ...]
    size: int
    sha256: str
    ranges: tuple[Range, ...]
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def filename(self) -> str:
        return self.artifact.filename

    @property
    def downloaded(self) -> int:
        """The bytes of its ranges."""
        return sum(part.size for part in self.ranges)


# A file that a stage gets: a whole file of the lock, or an excerpt of it.
StageFile = Artifact | Excerpt


def with_excerpts(
    artifacts: Iterable[Artifact], excerpts: Iterable[Excerpt]
) -> tuple[StageFile, ...]:
    """Return artifacts in their order, each as its excerpt if there is one."""
    replacements = {excerpt.artifact: excerpt for excerpt in excerpts}
    return tuple(replacements.get(item, item) for item in artifacts)


# Characters of paths and URLs, without those that Dockerfiles and shells interpret.
_PATH = re.compile(r"[A-Za-z0-9._~+%:/=@,!&()*?;\[\]-]+")


def is_in_origin(path: str) -> bool:
    """Return whether a path, or a URL, is that of a file within an origin."""
    parts = unquote(path).split("/")
    return bool(_PATH.fullmatch(path)) and parts[0] != "" and ".." not in parts and path != "."


# A request is the input of a resolver for one set, which is stale when it changes. `arch` is
# Docker's name, or of CUDA for a target that shares a machine, the target's.


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """A base made of packages."""

    resolver: str = field(default="bootstrap", kw_only=True)
    arch: str
    suite: str
    packages: tuple[PackageSpec, ...]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A base that is an image by digest."""

    resolver: str = field(default="image", kw_only=True)
    arch: str
    suite: str
    image: str


@dataclass(frozen=True, slots=True)
class SystemRequest:
    """Packages of an operating system. `resolver` is `apt`, `dnf` or `zypper` for packages and
    their dependencies over the sets in `below`, of which the first is the base; or `apt-files` for
    exactly these packages. `archives` have packages beside the operating system's."""

    resolver: str
    arch: str
    suite: str
    packages: tuple[PackageSpec, ...]
    below: tuple[str, ...] = ()
    archives: tuple[SignedArchive, ...] = ()

    @property
    def foreign(self) -> tuple[str, ...]:
        """The architectures other than its own among the packages."""
        arches = {package.arch for package in self.packages}
        return tuple(sorted(arches - {"", self.arch}))


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """Packages of a CUDA `release`, which those without a version have. `resolver` is `pip` or
    `redist`."""

    resolver: str
    arch: str
    packages: tuple[PackageSpec, ...]
    release: str = ""


@dataclass(frozen=True, slots=True)
class RepositoryRequest:
    """The same from a repository of NVIDIA's, or from its directory for compiling for the target
    `cross`. `resolver` is `nvidia-apt` or `nvidia-dnf`."""

    resolver: str
    arch: str
    repository: str
    packages: tuple[PackageSpec, ...]
    release: str = ""
    cross: str = ""


@dataclass(frozen=True, slots=True)
class InImageRequest:
    """Components that have to be in the image of `base`; `version` is of CUDA, or of cuDNN if that
    is the component."""

    resolver: str = field(default="in-image", kw_only=True)
    arch: str
    version: str
    components: tuple[str, ...]
    base: str


@dataclass(frozen=True, slots=True)
class WheelsRequest:
    """Wheels that a library is built with, and their dependencies, for the Python of a suite or
    another release of it, `python`, but for projects whose names match `omitted`, which images
    have."""

    resolver: str = field(default="wheels", kw_only=True)
    arch: str
    suite: str
    requirements: tuple[str, ...]
    omitted: tuple[str, ...] = ()
    python: str = ""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """The source of a library, or of Python: a place, and what pins a state of it. `resolver` is
    `git`, `perforce`, `sdist`, `archive` or `debian-source`, whose pin is the suite."""

    arch: ClassVar[str] = ANY

    resolver: str
    place: str
    pin: str


BaseRequest = BootstrapRequest | ImageRequest
CudaRequest = ReleaseRequest | RepositoryRequest
Request = BaseRequest | SystemRequest | CudaRequest | InImageRequest | WheelsRequest | SourceRequest

# The type of the requests to each resolver.
REQUESTS: Mapping[str, type[Request]] = {
    "bootstrap": BootstrapRequest,
    "image": ImageRequest,
    **dict.fromkeys(("apt", "apt-files", "dnf", "zypper"), SystemRequest),
    **dict.fromkeys(("pip", "redist"), ReleaseRequest),
    **dict.fromkeys(("nvidia-apt", "nvidia-dnf"), RepositoryRequest),
    "in-image": InImageRequest,
    "wheels": WheelsRequest,
    **dict.fromkeys(("archive", "debian-source", "git", "perforce", "sdist"), SourceRequest),
}


def sets_below(request: Request) -> tuple[str, ...]:
    """Return the keys of the sets that a request builds upon."""
    if isinstance(request, InImageRequest):
        return (request.base,)
    return request.below if isinstance(request, SystemRequest) else ()


def asks_for_nothing(request: Request) -> bool:
    """Return whether a request is for a part of CUDA of which images have no component."""
    match request:
        case ReleaseRequest() | RepositoryRequest() | SystemRequest(resolver="apt-files"):
            return not request.packages
    return False


def helper_of(key: str, sets: Mapping[str, PackageSet], host_arch: str) -> str | None:
    """Return the key of the base with whose programs a machine of `host_arch` makes the base `key`:
    the one of the same suite for itself. None if `key` is that one, or an image."""
    request = sets[key].request
    if not isinstance(request, BootstrapRequest) or request.arch == host_arch:
        return None
    native = replace(request, arch=host_arch)
    return next((name for name, each in sets.items() if each.request == native), None)


def describe(request: Request) -> str:
    """Return a request in words, without what the key of its set has already."""
    names = [row.name for row in fields(request) if row.name not in ("arch", "below", "base")]
    values = (getattr(request, name) for name in names)
    rows = (value if isinstance(value, tuple) else (value,) for value in values)
    return " ".join(str(word) for row in rows for word in row if word)


@dataclass(frozen=True, slots=True)
class PackageSet:
    """A resolved request; `diff_id` is the layer of a bootstrapped base, `versions` maps components
    of an image to their versions ("" if unknown), and parts of a source to their revisions.
    `excerpts` are of the artifacts that images use little of; None if nobody looked for them."""

    request: Request
    artifacts: tuple[Artifact, ...]
    diff_id: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    excerpts: tuple[Excerpt, ...] | None = None

    @property
    def files(self) -> tuple[StageFile, ...]:
        return with_excerpts(self.artifacts, self.excerpts or ())

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that the request names and the set lacks. Resolvers of dependencies may
        answer with a package that provides another one, or has it in a set below."""
        match self.request:
            case (
                ReleaseRequest(packages=packages)
                | RepositoryRequest(packages=packages)
                | SystemRequest(resolver="apt-files", packages=packages)
            ):
                names = {item.name for item in self.artifacts}
                return tuple(item.name for item in packages if item.name not in names)
        return ()


@dataclass(frozen=True, slots=True)
class Lock:
    """`epoch` is the SOURCE_DATE_EPOCH of every layer, in seconds."""

    epoch: int
    sets: Mapping[str, PackageSet] = field(default_factory=dict)

    @property
    def excerpts(self) -> tuple[Excerpt, ...]:
        rows = (package_set.excerpts or () for package_set in self.sets.values())
        return tuple(sorted({excerpt for row in rows for excerpt in row}))

    def artifacts(self, keys: Iterable[str] | None = None) -> tuple[Artifact, ...]:
        chosen = self.sets if keys is None else keys
        return tuple(sorted({item for key in chosen for item in self.sets[key].artifacts}))


# Prefix of the keys of all sets of libraries, and what follows the name of one, which has no `+`.
LIBRARY = "library-"
_ARCHIVE = "+archive-"


def source_set(library: Library) -> str:
    """Return the key of the set of a library's source."""
    return f"{LIBRARY}{library.declared_name}"


def archive_set(library: Library, name: str) -> str:
    """Return the key of the set of an archive that the build of a library would download."""
    return f"{source_set(library)}{_ARCHIVE}{name}"


def source_parts(key: str) -> tuple[str, str]:
    """Return the library of the set of a source, and the name of the archive, empty without one."""
    library, _, archive = key.removeprefix(LIBRARY).partition(_ARCHIVE)
    return library, archive


def source_subject(key: str) -> str:
    """Return what the set of a source or an archive is for, for messages."""
    if not key.startswith(LIBRARY):
        return f"`{key}`"
    library, archive = source_parts(key)
    return f"library `{library}`" + (f", archive `{archive}`" if archive else "")


def wheels_prefix(library: Library) -> str:
    """Return the prefix of the keys of all sets of a library's wheels."""
    return f"{source_set(library)}-wheels-"


def wheels_set(library: Library, cell: Candidate, arch: str) -> str:
    """Return the key of the wheels that a library is built with in a cell, for the Python that it
    has; `arch` is Docker's name."""
    python = f"+py{cell.python}" if cell.python else ""
    return f"{wheels_prefix(library)}{cell.os}{python}-{arch}"
