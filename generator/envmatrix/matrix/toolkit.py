"""The CUDA toolkit that candidates ask for, with the facts about it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

from envmatrix.facts.components import Absence
from envmatrix.facts.cuda import CudaRelease, CudnnProject, Package
from envmatrix.facts.model import Facts
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import TARGETS, Target
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import ARCHES, CompilerKind, HostCompiler
from envmatrix.records import dataclass

# The source that is an image by digest, which contains CUDA.
IMAGE = "image"


# Compared by identity, so that lookups can be cached per toolkit.
@dataclass(frozen=True, eq=False)
class Toolkit:
    """A CUDA release in an operating system, for a target: the same for all candidates that differ
    in cuDNN and compilers only. `has_patch` says that they name a patch of the release. `source` is
    the one that the matrix names, if any; `components` are those required in the images."""

    release: CudaRelease
    has_patch: bool
    os: OperatingSystem
    target: Target
    facts: Facts
    source: str | None
    components: tuple[str, ...]

    @cached_property
    def offered_packages(self) -> list[Package]:
        """Packages of the release for the distribution, of the named source or else of any, in
        order of preference.

        Debian has one patch of each release, so it is left out if a patch is named.
        """
        if self.source == IMAGE:
            return [self._in_image]
        return [
            package
            for package in self.release.packages
            if self.source in (None, package.source)
            and package.suits(self.os.distribution)
            and package.os in (None, self.os.name)
            and not (self.has_patch and package.one_patch)
        ]

    @property
    def _in_image(self) -> Package:
        """The package that stands for the image of a rule, whose contents are unknown until it is
        locked. Its glibc is the lowest of the packages of the release."""
        release, others = self.release.release, self.release.packages
        glibc = min((package.glibc for package in others), key=version_key, default="0")
        ref = "; ".join(package.ref for package in others if package.glibc == glibc)
        return Package(
            source=IMAGE, first=release, last=release, glibc=glibc, arches=ARCHES, ref=ref
        )

    @cached_property
    def packages(self) -> list[Package]:
        """Packages that run on the operating system, first those with all components."""
        running = [
            package
            for package in self.offered_packages
            if self.target.name in package.arches
            and version_key(package.glibc) <= version_key(self.os.glibc)
        ]
        return sorted(running, key=lambda package: bool(self.missing_components(package)))

    def missing_components(self, package: Package) -> Mapping[str, Absence]:
        """Return the components that the source of a package lacks, with the reasons."""
        return _missing_components(
            self.facts, self.components, package.source, self.release.release
        )

    @property
    def available_gcc(self) -> list[str]:
        return self.available_majors("gcc")

    def available_majors(self, kind: CompilerKind) -> list[str]:
        """Return the majors that compile for the target both natively and from another
        architecture."""
        cross = self.os.cross_majors(kind, self.target.processor)
        return [major for major in self.os.majors(kind) if major in cross]

    @cached_property
    def host_compilers(self) -> list[str]:
        """The majors of GCC that nvcc takes."""
        return self.supported_majors("gcc", None)

    @property
    def default_compiler(self) -> str | None:
        """The name of the newest GCC that nvcc takes."""
        newest = max(self.host_compilers, key=int, default=None)
        return HostCompiler("gcc", newest).name if newest else None

    def supported_majors(self, kind: CompilerKind, cuda_compiler: str | None) -> list[str]:
        """Return the majors that the compiler of CUDA takes, from the oldest."""
        majors = sorted(self.available_majors(kind), key=int)
        if cuda_compiler == "clang":
            return [major for major in majors if kind == "clang" and self.is_compiled_by(major)]
        oldest, newest = self.release.host.range_of(kind)
        return [major for major in majors if int(oldest) <= int(major) <= int(newest)]

    def is_compiled_by(self, clang: str) -> bool:
        """Return whether a major of Clang compiles the CUDA release itself."""
        row = self.facts.clang.get(clang)
        return bool(row and row.cuda and in_range(self.release.release, "0", row.cuda))

    @property
    def cudnn_source(self) -> str:
        """The source of the toolkit if it has cuDNN, as an image may; else the wheels."""
        sources = {IMAGE, *(row.source for row in self.facts.cudnn.projects)}
        return next((row.source for row in self.packages[:1] if row.source in sources), "pypi")

    @property
    def cudnn_projects(self) -> list[CudnnProject]:
        key = (self.cudnn_source, self.release.major)
        return [row for row in self.facts.cudnn.projects if (row.source, row.cuda) == key]

    def cudnn_project(self, cudnn: str) -> CudnnProject | None:
        """Return the project with a version of cuDNN; None if there is none."""
        of_target = (row for row in self.cudnn_projects if row.arch == self.target.name)
        return next((row for row in of_target if in_range(cudnn, row.first, row.last)), None)


# Cached for all cells that differ in cuDNN and compilers only.
@lru_cache(maxsize=1024)
def find_toolkit(
    cuda: str,
    os: str,
    arch: str,
    facts: Facts,
    source: str | None = None,
    components: tuple[str, ...] = (),
) -> Toolkit | None:
    """Return a toolkit; None where the release, the operating system or the target is unknown."""
    release = facts.release(cuda)
    if release is None or os not in facts.os or arch not in TARGETS:
        return None
    required = facts.with_needs(components, release.release)
    has_patch = cuda != release.release
    return Toolkit(release, has_patch, facts.os[os], TARGETS[arch], facts, source, required)


@lru_cache(maxsize=256)
def _missing_components(
    facts: Facts, components: tuple[str, ...], source: str, release: str
) -> Mapping[str, Absence]:
    absences = {name: facts.absence(name, source, release) for name in components}
    # The contents of an image are unknown until it is locked, except for what no source has.
    return {
        name: absence
        for name, absence in absences.items()
        if absence and (source != IMAGE or absence.source is None)
    }
