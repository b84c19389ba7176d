"""A cell beside what is known of its CUDA release and its operating system."""

from __future__ import annotations

from dataclasses import dataclass

from envmatrix.matrix.cells import Cell, version_key
from envmatrix.matrix.facts import (
    CudaRelease,
    CudnnProject,
    CudnnSupport,
    Facts,
    OperatingSystem,
    Package,
    in_range,
)


@dataclass(frozen=True, slots=True)
class Subject:
    cell: Cell
    release: CudaRelease
    os: OperatingSystem
    facts: Facts

    @property
    def packages(self) -> list[Package]:
        """Those that run on the cell's operating system, in order of preference."""
        return [
            package
            for package in self.release.packages
            if self.cell.arch in package.arches
            and version_key(package.glibc) <= version_key(self.os.glibc)
        ]

    @property
    def available_gcc(self) -> list[str]:
        """Majors that compile for the cell's architecture both natively and from another one."""
        cross = self.os.cross_gcc.get(self.cell.arch, self.os.gcc)
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
    def cudnn_published(self) -> list[CudnnProject]:
        return [row for row in self.facts.cudnn_projects if row.cuda == self.release.major]

    @property
    def cudnn_project(self) -> CudnnProject | None:
        for row in self.cudnn_published if self.cell.cudnn else ():
            if row.arch == self.cell.arch and in_range(str(self.cell.cudnn), row.first, row.last):
                return row
        return None
