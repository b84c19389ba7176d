"""Facts about releases of CUDA and cuDNN: their sources, and what they work and conflict with."""

from __future__ import annotations

from typing import Annotated

from envmatrix.facts.systems import EndOfLife
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A source that carries the CUDA releases `first` to `last` in full, or `one_patch` of each,
    for all systems, for those of some distributions, or for `os` alone."""

    source: str
    suite: str | None = None
    first: str
    last: str | None = None
    glibc: str
    arches: tuple[str, ...]
    ref: str
    distributions: tuple[str, ...] | None = None
    os: str | None = None
    one_patch: bool = False

    def suits(self, distribution: str) -> bool:
        return self.distributions is None or distribution in self.distributions


@dataclass(frozen=True, slots=True)
class HostCompilers:
    """The oldest and the newest majors of GCC and Clang that the headers of a release take."""

    gcc_min: str
    gcc_max: str
    clang_min: str
    clang_max: str
    ref: str

    def range_of(self, kind: str) -> tuple[str, str]:
        """Return the oldest and the newest major of `gcc` or `clang`."""
        if kind == "clang":
            return self.clang_min, self.clang_max
        return self.gcc_min, self.gcc_max


@dataclass(frozen=True, slots=True)
class Driver:
    """Driver versions: `minimum` runs all releases of the major; `shipped` comes with the
    release."""

    minimum: str
    ref: str
    shipped: str | None = None

    @property
    def branch(self) -> str | None:
        return self.shipped.split(".")[0] if self.shipped else None


@dataclass(frozen=True, slots=True)
class CudaRelease:
    """A release of CUDA. `sm` are the GPU architectures that it compiles for."""

    release: Annotated[str, Mark.KEY]
    host: HostCompilers
    driver: Driver
    sm: tuple[str, ...]
    sm_ref: str
    eol: EndOfLife | None = None
    packages: Annotated[tuple[Package, ...], Mark.DERIVED] = ()

    @property
    def major(self) -> str:
        return self.release.split(".")[0]


@dataclass(frozen=True, slots=True)
class Clang:
    """A major of Clang: the newest CUDA release that it compiles, if any, and the GPU architectures
    that it compiles for."""

    major: Annotated[str, Mark.KEY]
    sm: tuple[str, ...]
    ref: str
    cuda: str | None = None


@dataclass(frozen=True, slots=True)
class Standard:
    """A C++ standard: the oldest majors of GCC and Clang and the oldest CUDA release that compile
    it. Without `cuda`, no release does."""

    name: Annotated[str, Mark.KEY]
    gcc: str
    clang: str
    ref: str
    cuda: str | None = None

    def oldest(self, kind: str) -> str:
        """Return the oldest major of `gcc` or `clang` that has it."""
        return self.clang if kind == "clang" else self.gcc


@dataclass(frozen=True, slots=True)
class Conflict:
    """A combination whose parts each work and that fails as a whole."""

    rule: str
    glibc_min: str
    cuda_max: str
    reason: str
    ref: str
    arch: str | None = None
    cuda_min: str = "0"


@dataclass(frozen=True, slots=True)
class CudnnSupport:
    """The cuDNN versions, `first` to `last`, that work with `cuda`, a release or a major."""

    cuda: str
    first: str
    ref: str
    last: str | None = None


@dataclass(frozen=True, slots=True)
class CudnnProject:
    """The project with cuDNN `first` to `last` in a source, for one CUDA major and architecture."""

    source: str
    project: str
    cuda: str
    arch: str
    first: str
    ref: str
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Cudnn:
    """All that is known of cuDNN."""

    support: tuple[CudnnSupport, ...]
    projects: tuple[CudnnProject, ...]
