"""Facts about operating systems: archives, compilers and ends of support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import date
from typing import Annotated

from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark


@dataclass(frozen=True, slots=True)
class EndOfLife:
    """The last day of support, the last day of long-term support (`lts`), and a replacement."""

    support: date
    ref: str
    lts: date | None = None
    replacement: str | None = None


@dataclass(frozen=True, slots=True)
class Compiler:
    """The package of a compiler with its C++ compiler, and its programs. Texts hold `{gcc}` or
    `{clang}`, a major."""

    package: str
    cc: str
    cxx: str

    def of(self, major: str) -> Compiler:
        texts = (self.package, self.cc, self.cxx)
        return Compiler(*(text.format(gcc=major, clang=major) for text in texts))


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions with the same format of packages.

    `installer` names the templates that install and unpack packages, `resolver` the resolver of
    sets; `unpackers` are packages with programs that unpack wheels and archives; `directories` maps
    directories of Debian in recipes to those of this family.
    """

    name: Annotated[str, Mark.KEY]
    installer: str
    resolver: str
    unpackers: tuple[str, ...]
    directories: Mapping[str, str]
    bootstrapped: bool
    ref: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution, with its archives `origins`; `security` is the one with security updates, if
    it is separate. `sections` are of apt, for the deb family; `repositories` are paths with
    `{releasever}` and `{arch}`, for other families.
    """

    name: Annotated[str, Mark.KEY]
    origins: tuple[str, ...]
    ref: str = ""
    compiler: Compiler | None = None
    own_compiler: Compiler | None = None
    clang: Compiler | None = None
    sections: tuple[str, ...] = ()
    keyring: str = ""
    keyring_package: str = ""
    security: str | None = None
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PythonSource:
    """A release of CPython that can be compiled: the source package in a suite of Debian, and
    whether it can be without the GIL."""

    release: Annotated[str, Mark.KEY]
    package: str
    suite: str
    ref: str
    free_threaded: bool = False


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive with the packages of a suite for one architecture (Docker's name); `path` is its
    directory in the origin."""

    distribution: Distribution
    origin: str
    suite: str
    arch: str
    path: str = ""


# The start of the names of origins with compilers that operating systems do not have.
COMPILERS_ORIGIN = "compilers-"


@dataclass(frozen=True, slots=True, order=True)
class SignedArchive:
    """A suite of apt in a directory `path` of an origin. It is signed by the key with this
    fingerprint, which is in the file `key` of the origin."""

    origin: str
    suite: str
    key: str
    fingerprint: str
    path: str = ""

    def __str__(self) -> str:
        return self.suite

    def archive(self, arch: str, keys: str) -> Archive:
        """Return the archive for an architecture, proven by the key of its fingerprint in a file of
        keys."""
        keyring = f"{keys},{self.fingerprint}"
        distribution = Distribution(
            self.origin, (self.origin,), sections=("main",), keyring=keyring
        )
        return Archive(distribution, self.origin, self.suite, arch, self.path)


@dataclass(frozen=True, slots=True)
class NvidiaRepository:
    """A repository of NVIDIA. `suite` is its directory below `cuda/repos/`, `key` the file there
    with its key, which is identified by its fingerprint, or by the sha256 of the file without the
    lines that begin with `Version`."""

    suite: str
    key: str
    ref: str
    fingerprint: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """An operating system. `origins` maps architectures (Docker's names) that are not in its
    distribution's first archive to their archive. `suite` is the name of its release in locks;
    `own_gcc` the major whose packages have no number; `python` the release of its own Python, if it
    is known, and `python_libraries` the packages that others are loaded with, without any where
    none can be compiled; `base_packages` are in a bootstrapped base beside the essential ones,
    `has_dpkg_root` tells that the maintainer scripts of all of them support $DPKG_ROOT.
    """

    name: Annotated[str, Mark.KEY]
    family: Family
    distribution: str
    suite: str
    glibc: str
    gcc: tuple[str, ...]
    cross_gcc: Mapping[str, tuple[str, ...]]
    ref: str
    clang: tuple[str, ...] = ()
    cross_clang: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    eol: EndOfLife | None = None
    nvidia_repository: NvidiaRepository | None = None
    releasever: str | None = None
    own_gcc: str | None = None
    repositories: tuple[str, ...] | None = None
    python: str | None = None
    python_libraries: tuple[str, ...] = ()
    base_packages: tuple[str, ...] = ()
    has_dpkg_root: bool = False

    def majors(self, kind: str) -> tuple[str, ...]:
        """Return the majors that it has of `gcc` or `clang`."""
        return self.clang if kind == "clang" else self.gcc

    def newest_cross_gcc(self, processor: str) -> str:
        """Return the newest GCC that compiles for a target from another architecture."""
        return max(self.cross_gcc[processor], key=int)

    def cross_majors(self, kind: str, processor: str) -> tuple[str, ...]:
        """Return the majors that it has of `gcc` or `clang` and that compile for a target from
        another architecture; all if it crosses to none."""
        crossed = self.cross_clang if kind == "clang" else self.cross_gcc
        return crossed.get(processor, self.majors(kind))
