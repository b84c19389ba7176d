"""What is known about CUDA, operating systems and cuDNN; every row names where it was learnt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import cast

from envmatrix.matrix.cells import docker_arch, version_key
from envmatrix.matrix.document import parse

Row = Mapping[str, str]


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
    """`minimum` runs all releases of the major; `shipped` is the one of the release itself."""

    minimum: str
    ref: str
    shipped: str | None = None

    @property
    def branch(self) -> str | None:
        return self.shipped.split(".")[0] if self.shipped else None


@dataclass(frozen=True, slots=True)
class EndOfLife:
    """The last day of support, of a long-term support that follows, and what to take instead."""

    support: date
    ref: str
    lts: date | None = None
    replacement: str | None = None


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
class Distribution:
    """The archives of a distribution are `origins`; `sections` is what apt reads of them."""

    name: str
    origins: tuple[str, ...]
    sections: tuple[str, ...]
    keyring: str
    keyring_package: str
    ref: str


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the packages of a suite are for one architecture, which has Docker's name."""

    distribution: Distribution
    origin: str
    suite: str
    arch: str


@dataclass(frozen=True, slots=True)
class NvidiaRepository:
    """`suite` is its directory below `cuda/repos/`, `key` the file there that has its key."""

    suite: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """`origins` has the architectures that are not in its distribution's first archive."""

    name: str
    family: str
    distribution: str
    suite: str
    origins: Mapping[str, str]
    glibc: str
    gcc: tuple[str, ...]
    cross_gcc: Mapping[str, tuple[str, ...]]
    ref: str
    eol: EndOfLife | None
    nvidia_repository: NvidiaRepository | None


@dataclass(frozen=True, slots=True)
class CudnnSupport:
    """cuDNN `first` to `last` work with `cuda`, a release or a major."""

    cuda: str
    first: str
    ref: str
    last: str | None = None


@dataclass(frozen=True, slots=True)
class CudnnProject:
    """What carries cuDNN `first` to `last` in a source, for one CUDA major and architecture."""

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
    """`needs` are other components, by the release that needs them; lists may not ask for one
    that a `policy` asks for."""

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
    """Why `components` are not in `source`, or in none, for CUDA releases `first` to `last`."""

    components: tuple[str, ...]
    reason: str
    ref: str
    source: str | None = None
    first: str = "0"
    last: str | None = None


# Compared by identity, so that what follows from a set of facts can be kept beside it.
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
        """The components that some source has and that lists may ask for."""
        return [name for name, its in self.components.items() if its.sources and not its.policy]

    def with_needs(self, components: Iterable[str], release: str) -> tuple[str, ...]:
        """`components` and all that they need in a CUDA release, each once."""
        found = set(components)
        waiting = list(found)
        while waiting:
            needed = {*self.components[waiting.pop()].needs_in(release)} - found
            waiting += needed
            found |= needed
        return tuple(sorted(found))

    def absence(self, component: str, source: str | None, release: str) -> Absence | None:
        """Why a source lacks a component of a CUDA release, if it does."""
        for row in self.absences:
            of_source = row.source in (None, source) and in_range(release, row.first, row.last)
            if component in row.components and of_source:
                return row
        if source in self.components[component].sources:
            return None
        reason = "there is no recipe for it yet"
        return Absence((component,), reason, "component_names.yaml", source)

    def release(self, cuda: str) -> CudaRelease | None:
        """The release that `12.4` and `12.4.1` both belong to."""
        return self.cuda.get(".".join(cuda.split(".")[:2]))

    def archive(self, suite: str, arch: str) -> Archive:
        """The archive that has `suite` for `arch`, which is Docker's name."""
        os = next(os for os in self.os.values() if os.suite == suite)
        distribution = self.distributions[os.distribution]
        origin = os.origins.get(arch, distribution.origins[0])
        return Archive(distribution, origin, suite, arch)

    @property
    def nvidia_repositories(self) -> Mapping[str, NvidiaRepository]:
        found = (its.nvidia_repository for its in self.os.values())
        return {repository.suite: repository for repository in found if repository}


def in_range(version: str, first: str, last: str | None) -> bool:
    """Whether `first` <= `version` <= `last`, where 9.10.2 still belongs to `last` 9.10.

    A version of two parts is its newest patch: 8.9 is not before `first` 8.9.5.
    """
    key = version_key(version)
    if key < version_key(first)[: len(key)]:
        return False
    return last is None or key[: len(version_key(last))] <= version_key(last)


@cache
def load_facts() -> Facts:
    """The facts that come with the package."""
    cudnn = _mapping("cudnn.yaml")
    return Facts(
        cuda={release.release: release for release in _releases(_mapping("cuda.yaml"))},
        os={name: _os(name, row) for name, row in _mapping("os.yaml").items()},
        distributions={
            name: _distribution(name, row) for name, row in _mapping("distributions.yaml").items()
        },
        cudnn_support=tuple(CudnnSupport(**row) for row in _rows(cudnn["support"])),
        cudnn_projects=tuple(CudnnProject(**row) for row in _rows(cudnn["projects"])),
        conflicts=tuple(Conflict(**row) for row in _rows(_read("conflicts.yaml"))),
        components={
            name: _component(name, row) for name, row in _mapping("component_names.yaml").items()
        },
        absences=tuple(_absence(row) for row in _rows(_read("absences.yaml"))),
    )


def _releases(rows: Mapping[str, Mapping[str, object]]) -> Iterator[CudaRelease]:
    """Each row over those before it; `shipped` and `eol` are a row's own."""
    packages = [_package(row) for row in _rows(_read("sources.yaml"))]
    refs: dict[str, str] = {}
    host: dict[str, str] = {}
    driver: dict[str, str] = {}
    sm: list[str] = []
    for name, row in rows.items():
        refs |= {key: str(ref) for key, ref in row.items() if key.endswith("_ref")}
        host |= cast("Row", row.get("host", {}))
        driver.pop("shipped", None)
        driver |= cast("Row", row.get("driver", {}))
        sm = _changed(sm, cast("Mapping[str, list[str]]", row.get("sm", {})))
        yield CudaRelease(
            release=name,
            **host,
            host_ref=refs["host_ref"],
            driver=Driver(**driver, ref=refs["driver_ref"]),
            eol=_end_of_life(row),
            sm=tuple(sm),
            sm_ref=refs["sm_ref"],
            packages=tuple(its for its in packages if in_range(name, its.first, its.last)),
        )


def _changed(sm: Sequence[str], change: Mapping[str, Sequence[str]]) -> list[str]:
    """GPU architectures in order: `90` before `90a` before `100`."""
    kept = [
        *(name for name in sm if name not in change.get("dropped", ())),
        *change.get("added", ()),
    ]
    return sorted(kept, key=lambda name: (int(name.rstrip("af")), name))


def _package(row: Row) -> Package:
    return Package(
        source=row["source"],
        suite=row.get("suite"),
        first=row["first"],
        last=row.get("last"),
        glibc=row["glibc"],
        arches=_texts(row["arches"]),
        ref=row["ref"],
        distributions=_texts(row["distributions"]) if "distributions" in row else None,
        os=row.get("os"),
        one_patch="one_patch" in row,
    )


def _component(name: str, row: Mapping[str, object]) -> Component:
    needs = cast("Mapping[str, object]", row.get("needs", {}))
    return Component(
        name=name,
        sources=_texts(row["sources"]),
        ref=str(row["ref"]),
        needs={first: _texts(names) for first, names in needs.items()},
        policy=cast("str | None", row.get("policy")),
    )


def _absence(row: Row) -> Absence:
    return Absence(**{**row, "components": _texts(row["components"])})  # type: ignore[arg-type]


def _os(name: str, row: Mapping[str, object]) -> OperatingSystem:
    cross = cast("Mapping[str, object]", row["cross_gcc"])
    origins = cast("Row", row.get("origins", {}))
    return OperatingSystem(
        name=name,
        family=str(row["family"]),
        distribution=str(row["distribution"]),
        suite=str(row["suite"]),
        origins={docker_arch(arch): origin for arch, origin in origins.items()},
        glibc=str(row["glibc"]),
        gcc=_texts(row["gcc"]),
        cross_gcc={arch: _texts(majors) for arch, majors in cross.items()},
        ref=str(row["ref"]),
        eol=_end_of_life(row),
        nvidia_repository=NvidiaRepository(**cast("Row", row["nvidia_repository"]))
        if "nvidia_repository" in row
        else None,
    )


def _distribution(name: str, row: Mapping[str, object]) -> Distribution:
    return Distribution(
        name=name,
        origins=_texts(row["origins"]),
        sections=_texts(row["sections"]),
        keyring=str(row["keyring"]),
        keyring_package=str(row["keyring_package"]),
        ref=str(row["ref"]),
    )


def _end_of_life(row: Mapping[str, object]) -> EndOfLife | None:
    if "eol" not in row:
        return None
    eol = cast("Row", row["eol"])
    return EndOfLife(
        support=date.fromisoformat(eol["support"]),
        ref=str(row["eol_ref"]),
        lts=date.fromisoformat(eol["lts"]) if "lts" in eol else None,
        replacement=eol.get("replacement"),
    )


def _read(name: str) -> object:
    content = files("envmatrix").joinpath("data", name).read_bytes()
    return parse(content, f"envmatrix/data/{name}").plain()


def _mapping(name: str) -> Mapping[str, Mapping[str, object]]:
    return cast("Mapping[str, Mapping[str, object]]", _read(name))


def _rows(value: object) -> Iterator[Row]:
    return iter(cast("list[Row]", value))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(cast("list[str]", value))
