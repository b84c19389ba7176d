"""A cell beside what is known of its CUDA release and its operating system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from envmatrix.matrix.cells import Cell, version_key
from envmatrix.matrix.facts import (
    Absence,
    CudaRelease,
    CudnnProject,
    CudnnSupport,
    Facts,
    OperatingSystem,
    Package,
    in_range,
)
from envmatrix.matrix.targets import TARGETS, Target


@dataclass(frozen=True, slots=True)
class Subject:
    """`source` is the one that the matrix names for the cell, if it names one; `components` are
    those that its images have to have."""

    cell: Cell
    release: CudaRelease
    os: OperatingSystem
    facts: Facts
    source: str | None = None
    components: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        return TARGETS[self.cell.arch]

    @property
    def offered(self) -> list[Package]:
        """Packages of the release for the cell's distribution, of the named source or else of any,
        in order of preference.

        Nobody can ask for the patch of a .deb: Debian has one of a release, and NVIDIA's packages
        have versions of their own (cuda-cudart-12-4 of CUDA 12.4.1 is 12.4.127).
        """
        return [
            package
            for package in self.release.packages
            if self.source in (None, package.source)
            and package.suits(self.os.distribution)
            and package.os in (None, self.os.name)
            and not (self.has_patch and package.suite)
        ]

    @property
    def has_patch(self) -> bool:
        return self.cell.cuda != self.release.release

    @property
    def packages(self) -> list[Package]:
        """Those that run on the cell's operating system, first those with all components."""
        running = [
            package
            for package in self.offered
            if self.cell.arch in package.arches
            and version_key(package.glibc) <= version_key(self.os.glibc)
        ]
        return sorted(running, key=lambda package: bool(self.lacking(package)))

    def lacking(self, package: Package) -> Mapping[str, Absence]:
        """The components that a source of the release has not, and why."""
        return _lacking(self.facts, self.components, package.source, self.release.release)

    @property
    def available_gcc(self) -> list[str]:
        """Majors that compile for the cell's architecture both natively and from another one."""
        cross = self.os.cross_gcc.get(self.target.processor, self.os.gcc)
        return [major for major in self.os.gcc if major in cross]

    @property
    def host_compilers(self) -> list[str]:
        oldest, newest = int(self.release.gcc_min), int(self.release.gcc_max)
        return [major for major in self.available_gcc if oldest <= int(major) <= newest]

    @property
    def cudnn_support(self) -> list[CudnnSupport]:
        release = self.release.release
        either = (release, self.release.major)
        return [row for row in self.facts.cudnn_support if row.cuda in either]

    @property
    def cudnn_source(self) -> str:
        """NVIDIA's archives beside a toolkit from there, else the wheels."""
        return "redist" if [p.source for p in self.packages[:1]] == ["redist"] else "pypi"

    @property
    def cudnn_published(self) -> list[CudnnProject]:
        wanted = (self.cudnn_source, self.release.major)
        return [row for row in self.facts.cudnn_projects if (row.source, row.cuda) == wanted]

    @property
    def cudnn_project(self) -> CudnnProject | None:
        for row in self.cudnn_published if self.cell.cudnn else ():
            if row.arch == self.cell.arch and in_range(str(self.cell.cudnn), row.first, row.last):
                return row
        return None


@lru_cache(maxsize=256)
def _lacking(
    facts: Facts, components: tuple[str, ...], source: str, release: str
) -> Mapping[str, Absence]:
    absences = {name: facts.absence(name, source, release) for name in components}
    return {name: absence for name, absence in absences.items() if absence}
