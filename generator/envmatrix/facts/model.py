"""Facts about CUDA, operating systems and cuDNN; every row names its reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from envmatrix.facts.rows import Row, mapping, read_data, rows, texts
from envmatrix.facts.systems import (
    Archive,
    Compiler,
    Distribution,
    EndOfLife,
    NvidiaRepository,
    OperatingSystem,
    parse_distribution,
    parse_end_of_life,
    parse_family,
    parse_operating_system,
)
from envmatrix.facts.versions import in_range, version_key


@dataclass(frozen=True, slots=True)
class Package:
    """A source that carries the CUDA releases `first` to `last` in full, or `one_patch` of each,
    for all systems, for those of some distributions, or for `os` alone."""

    source: str
    suite: str | None
    first: str
    last: str | None
    glibc: str
    arches: tuple[str, ...]
    ref: str
    distributions: tuple[str, ...] | None = None
    os: str | None = None
    one_patch: bool = False

    def suits(self, distribution: str) -> bool:
        return self.distributions is None or distribution in self.distributions


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
    release: str
    gcc_min: str
    gcc_max: str
    clang_min: str
    clang_max: str
    host_ref: str
    driver: Driver
    eol: EndOfLife | None
    sm: tuple[str, ...]
    sm_ref: str
    packages: tuple[Package, ...]

    @property
    def major(self) -> str:
        return self.release.split(".")[0]


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
class Component:
    """A component of CUDA. `needs` are its dependencies by the first release that has them; a
    component with a `policy` cannot be listed."""

    name: str
    sources: tuple[str, ...]
    ref: str
    needs: Mapping[str, tuple[str, ...]]
    policy: str | None = None

    def needs_in(self, release: str) -> Iterator[str]:
        for first, names in self.needs.items():
            if version_key(first) <= version_key(release):
                yield from names


@dataclass(frozen=True, slots=True)
class Absence:
    """The reason that `source`, or every source, lacks `components` of CUDA `first` to `last`."""

    components: tuple[str, ...]
    reason: str
    ref: str
    source: str | None = None
    first: str = "0"
    last: str | None = None


# Compared by identity, so that results derived from a set of facts can be cached.
@dataclass(frozen=True, eq=False)
class Facts:
    cuda: Mapping[str, CudaRelease]
    os: Mapping[str, OperatingSystem]
    distributions: Mapping[str, Distribution]
    cudnn_support: tuple[CudnnSupport, ...]
    cudnn_projects: tuple[CudnnProject, ...]
    conflicts: tuple[Conflict, ...]
    components: Mapping[str, Component]
    absences: tuple[Absence, ...]

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
        os = self.of_suite(suite)
        distribution = self.distributions[os.distribution]
        origin = os.origins.get(arch, distribution.origins[0])
        return Archive(distribution, origin, suite, arch)

    def compiler(self, os: str, gcc: str) -> Compiler:
        """Return the GCC of a major that `os` has."""
        system = self.os[os]
        distribution = self.distributions[system.distribution]
        own = distribution.own_compiler if gcc == system.own_gcc else None
        compiler = own or distribution.compiler
        assert compiler is not None  # noqa: S101 -- every row of distributions.yaml has one
        return compiler.of(gcc)

    @property
    def nvidia_repositories(self) -> Mapping[str, NvidiaRepository]:
        repositories = (system.nvidia_repository for system in self.os.values())
        return {repository.suite: repository for repository in repositories if repository}


@cache
def load_facts() -> Facts:
    """Return the facts from `envmatrix/facts/data`."""
    cudnn = mapping("cudnn.yaml")
    families = {name: parse_family(name, row) for name, row in mapping("families.yaml").items()}
    systems = {
        name: parse_operating_system(name, row, families)
        for name, row in mapping("os.yaml").items()
    }
    packages = [
        package for row in rows(read_data("sources.yaml")) for package in _packages(row, systems)
    ]
    return Facts(
        cuda={release.release: release for release in _releases(mapping("cuda.yaml"), packages)},
        os=systems,
        distributions={
            name: parse_distribution(name, row)
            for name, row in mapping("distributions.yaml").items()
        },
        cudnn_support=tuple(CudnnSupport(**row) for row in rows(cudnn["support"])),
        cudnn_projects=tuple(CudnnProject(**row) for row in rows(cudnn["projects"])),
        conflicts=tuple(Conflict(**row) for row in rows(read_data("conflicts.yaml"))),
        components={
            name: _component(name, row) for name, row in mapping("component_names.yaml").items()
        },
        absences=tuple(_absence(row) for row in rows(read_data("absences.yaml"))),
    )


def _releases(
    table: Mapping[str, Mapping[str, object]], packages: Sequence[Package]
) -> Iterator[CudaRelease]:
    """Yield the releases; a row inherits all but `shipped` and `eol` from the rows before it."""
    refs: dict[str, str] = {}
    host: dict[str, str] = {}
    driver: dict[str, str] = {}
    sm: list[str] = []
    for name, row in table.items():
        refs |= {key: str(ref) for key, ref in row.items() if key.endswith("_ref")}
        host |= cast("Row", row.get("host", {}))
        driver.pop("shipped", None)
        driver |= cast("Row", row.get("driver", {}))
        sm = _change_sm(sm, cast("Mapping[str, list[str]]", row.get("sm", {})))
        yield CudaRelease(
            release=name,
            **host,
            host_ref=refs["host_ref"],
            driver=Driver(**driver, ref=refs["driver_ref"]),
            eol=parse_end_of_life(row),
            sm=tuple(sm),
            sm_ref=refs["sm_ref"],
            packages=tuple(
                package for package in packages if in_range(name, package.first, package.last)
            ),
        )


def _change_sm(sm: Sequence[str], change: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the changed GPU architectures in order: `90` before `90a` before `100`."""
    names = [
        *(name for name in sm if name not in change.get("dropped", ())),
        *change.get("added", ()),
    ]
    return sorted(names, key=lambda name: (int(name.rstrip("af")), name))


def _packages(row: Row, systems: Mapping[str, OperatingSystem]) -> Iterator[Package]:
    """Yield the package of a row; of a repository of NVIDIA, one for each system that has it."""
    package = _package(row)
    supported = [
        os.name
        for os in systems.values()
        if os.nvidia_repository and os.nvidia_repository.suite == package.suite
    ]
    if package.os or not supported:
        yield package
    else:
        yield from (replace(package, os=name) for name in supported)


def _package(row: Row) -> Package:
    return Package(
        source=row["source"],
        suite=row.get("suite"),
        first=row["first"],
        last=row.get("last"),
        glibc=row["glibc"],
        arches=texts(row["arches"]),
        ref=row["ref"],
        distributions=texts(row["distributions"]) if "distributions" in row else None,
        os=row.get("os"),
        one_patch="one_patch" in row,
    )


def _component(name: str, row: Mapping[str, object]) -> Component:
    needs = cast("Mapping[str, object]", row.get("needs", {}))
    return Component(
        name=name,
        sources=texts(row["sources"]),
        ref=str(row["ref"]),
        needs={first: texts(names) for first, names in needs.items()},
        policy=cast("str | None", row.get("policy")),
    )


def _absence(row: Row) -> Absence:
    return Absence(**{**row, "components": texts(row["components"])})  # type: ignore[arg-type]
