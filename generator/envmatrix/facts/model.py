"""All facts that the matrix is decided with; every row names its reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from envmatrix.facts.components import Absence, Component
from envmatrix.facts.cuda import Clang, Conflict, CudaRelease, Cudnn, Package, Standard
from envmatrix.facts.gpus import GpuModel
from envmatrix.facts.loading import read_facts
from envmatrix.facts.omissions import Omission
from envmatrix.facts.sdks import Sdk
from envmatrix.facts.systems import (
    Archive,
    Compiler,
    Distribution,
    Family,
    NvidiaRepository,
    OperatingSystem,
    PythonSource,
)
from envmatrix.facts.versions import in_range
from envmatrix.records import dataclass


# Compared by identity, so that results derived from a set of facts can be cached.
@dataclass(frozen=True, eq=False)
class Facts:
    cuda: Mapping[str, CudaRelease]
    standards: Mapping[str, Standard]
    clang: Mapping[str, Clang]
    os: Mapping[str, OperatingSystem]
    distributions: Mapping[str, Distribution]
    cudnn: Cudnn
    conflicts: tuple[Conflict, ...]
    components: Mapping[str, Component]
    absences: tuple[Absence, ...]
    omissions: Mapping[str, Omission]
    gpus: Mapping[str, GpuModel]
    sdks: Mapping[str, Sdk]
    pythons: Mapping[str, PythonSource]

    @property
    def listable(self) -> list[str]:
        """Components that some source has and that lists may ask for."""
        return [
            name
            for name, component in self.components.items()
            if component.sources and not component.policy
        ]

    def with_needs(self, components: Iterable[str], release: str) -> tuple[str, ...]:
        """Return `components` and all that they need in a CUDA release, sorted, each once."""
        closure = set(components)
        waiting = list(closure)
        while waiting:
            needed = {*self.components[waiting.pop()].needs_in(release)} - closure
            waiting += needed
            closure |= needed
        return tuple(sorted(closure))

    def absence(self, component: str, source: str | None, release: str) -> Absence | None:
        """Return the reason that a source lacks a component of a CUDA release; None if it has
        it."""
        for row in self.absences:
            of_source = row.source in (None, source) and in_range(release, row.first, row.last)
            if component in row.components and of_source:
                return row
        if source in self.components[component].sources:
            return None
        reason = "there is no recipe for it yet"
        return Absence((component,), reason, "component_names.yaml", source)

    def release(self, cuda: str) -> CudaRelease | None:
        """Return the release of a version: `12.4` for both `12.4` and `12.4.1`."""
        return self.cuda.get(".".join(cuda.split(".")[:2]))

    def of_suite(self, suite: str) -> OperatingSystem:
        return next(os for os in self.os.values() if os.suite == suite)

    def archive(self, suite: str, arch: str) -> Archive:
        """Return the archive that has `suite` for `arch` (Docker's name)."""
        os = next((os for os in self.os.values() if os.suite == suite), None)
        # A suite of sources alone is one of Debian.
        distribution = self.distributions[os.distribution if os else "debian"]
        origin = os.origins.get(arch, distribution.origins[0]) if os else distribution.origins[0]
        return Archive(distribution, origin, suite, arch)

    def compiler(self, os: str, gcc: str) -> Compiler:
        """Return the GCC of a major that `os` has."""
        system = self.os[os]
        distribution = self.distributions[system.distribution]
        own = distribution.own_compiler if gcc == system.own_gcc else None
        compiler = own or distribution.compiler
        assert compiler is not None  # noqa: S101 -- every row of distributions.yaml has one
        return compiler.of(gcc)

    def clang_compiler(self, os: str, clang: str) -> Compiler:
        """Return the Clang of a major that `os` has."""
        compiler = self.distributions[self.os[os].distribution].clang
        assert compiler is not None  # noqa: S101 -- distributions whose systems have Clang have one
        return compiler.of(clang)

    @property
    def nvidia_repositories(self) -> Mapping[str, NvidiaRepository]:
        repositories = (system.nvidia_repository for system in self.os.values())
        return {repository.suite: repository for repository in repositories if repository}


@cache
def load_facts() -> Facts:
    """Return the facts from `facts/data`."""
    families = read_facts("families.yaml", Mapping[str, Family])
    systems: Mapping[str, OperatingSystem] = read_facts(
        "os.yaml", Mapping[str, OperatingSystem], {Family: families}
    )
    packages = [
        package
        for row in read_facts("sources.yaml", tuple[Package, ...])
        for package in _packages_by_system(row, systems)
    ]
    releases: Mapping[str, CudaRelease] = read_facts("cuda.yaml", Mapping[str, CudaRelease])
    return Facts(
        cuda={name: _with_packages(release, packages) for name, release in releases.items()},
        standards=read_facts("standards.yaml", Mapping[str, Standard]),
        clang=read_facts("clang.yaml", Mapping[str, Clang]),
        os=systems,
        distributions=read_facts("distributions.yaml", Mapping[str, Distribution]),
        cudnn=read_facts("cudnn.yaml", Cudnn),
        conflicts=read_facts("conflicts.yaml", tuple[Conflict, ...]),
        components=read_facts("component_names.yaml", Mapping[str, Component]),
        absences=read_facts("absences.yaml", tuple[Absence, ...]),
        omissions=read_facts("omissions.yaml", Mapping[str, Omission]),
        gpus=read_facts("gpus.yaml", Mapping[str, GpuModel]),
        sdks=read_facts("sdks.yaml", Mapping[str, Sdk]),
        pythons=read_facts("pythons.yaml", Mapping[str, PythonSource]),
    )


def _packages_by_system(
    package: Package, systems: Mapping[str, OperatingSystem]
) -> Iterator[Package]:
    """Yield a package; of a repository of NVIDIA, one for each system that has it."""
    supported = [
        os.name
        for os in systems.values()
        if os.nvidia_repository and os.nvidia_repository.suite == package.suite
    ]
    if package.os or not supported:
        yield package
    else:
        yield from (replace(package, os=name) for name in supported)


def _with_packages(release: CudaRelease, packages: Iterable[Package]) -> CudaRelease:
    suitable = (row for row in packages if in_range(release.release, row.first, row.last))
    return replace(release, packages=tuple(suitable))
