"""A candidate with the facts about its CUDA release and its operating system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from envmatrix.facts.components import Absence
from envmatrix.facts.cuda import CudaRelease, Package
from envmatrix.facts.cudnn import CudnnProject, CudnnSupport
from envmatrix.facts.model import Facts
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import TARGETS, Target
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import ARCHES, Candidate

# The source that is an image by digest, which contains CUDA.
IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Subject:
    """A candidate and its facts. `source` is the one that the matrix names for it, if any;
    `components` are those required in its images."""

    cell: Candidate
    release: CudaRelease
    os: OperatingSystem
    facts: Facts
    source: str | None = None
    components: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        return TARGETS[self.cell.arch]

    @property
    def offered_packages(self) -> list[Package]:
        """Packages of the release for the cell's distribution, of the named source or else of any,
        in order of preference.

        Debian has one patch of each release, so it is left out if the cell names a patch.
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

    @property
    def has_patch(self) -> bool:
        return self.cell.cuda != self.release.release

    @property
    def packages(self) -> list[Package]:
        """Packages that run on the cell's operating system, first those with all components."""
        running = [
            package
            for package in self.offered_packages
            if self.cell.arch in package.arches
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
        """Majors that compile for the cell's architecture both natively and from another one."""
        cross = self.os.cross_gcc.get(self.target.processor, self.os.gcc)
        return [major for major in self.os.gcc if major in cross]

    @property
    def host_compilers(self) -> list[str]:
        oldest, newest = int(self.release.host.gcc_min), int(self.release.host.gcc_max)
        return [major for major in self.available_gcc if oldest <= int(major) <= newest]

    @property
    def cudnn_support(self) -> list[CudnnSupport]:
        release = self.release.release
        either = (release, self.release.major)
        return [row for row in self.facts.cudnn.support if row.cuda in either]

    @property
    def cudnn_source(self) -> str:
        """The source of the toolkit if it has cuDNN, as an image may; else the wheels."""
        sources = {IMAGE, *(row.source for row in self.facts.cudnn.projects)}
        return next((row.source for row in self.packages[:1] if row.source in sources), "pypi")

    @property
    def cudnn_projects(self) -> list[CudnnProject]:
        key = (self.cudnn_source, self.release.major)
        return [row for row in self.facts.cudnn.projects if (row.source, row.cuda) == key]

    @property
    def cudnn_project(self) -> CudnnProject | None:
        for row in self.cudnn_projects if self.cell.cudnn else ():
            if row.arch == self.cell.arch and in_range(str(self.cell.cudnn), row.first, row.last):
                return row
        return None


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
