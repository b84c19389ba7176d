"""Facts about operating systems: archives, compilers and ends of support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from envmatrix.facts.rows import Row, texts
from envmatrix.facts.targets import docker_arch


@dataclass(frozen=True, slots=True)
class EndOfLife:
    """The last day of support, the last day of long-term support (`lts`), and a replacement."""

    support: date
    ref: str
    lts: date | None = None
    replacement: str | None = None


@dataclass(frozen=True, slots=True)
class Compiler:
    """The package of a GCC with its C++ compiler, and its programs. Texts hold `{gcc}`, a major."""

    package: str
    cc: str
    cxx: str

    def of(self, gcc: str) -> Compiler:
        words = (self.package, self.cc, self.cxx)
        return Compiler(*(word.format(gcc=gcc) for word in words))


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions with the same format of packages.

    `installer` names the templates that install and unpack packages, `resolver` the resolver of
    sets; `unpackers` are packages with programs that unpack wheels and archives; `directories` maps
    directories of Debian in recipes to those of this family.
    """

    name: str
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

    name: str
    origins: tuple[str, ...]
    ref: str = ""
    compiler: Compiler | None = None
    own_compiler: Compiler | None = None
    sections: tuple[str, ...] = ()
    keyring: str = ""
    keyring_package: str = ""
    security: str | None = None
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive with the packages of a suite for one architecture (Docker's name)."""

    distribution: Distribution
    origin: str
    suite: str
    arch: str


@dataclass(frozen=True, slots=True)
class NvidiaRepository:
    """A repository of NVIDIA. `suite` is its directory below `cuda/repos/`, `key` the file there
    with its key, which is identified by its fingerprint, or by the sha256 of the file without the
    lines that begin with `Version`."""

    suite: str
    key: str
    fingerprint: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """An operating system. `origins` maps architectures that are not in its distribution's first
    archive to their archive. `suite` is the name of its release in locks; `own_gcc` the major whose
    packages have no number; `python` the release of its own Python, if it is known.
    """

    name: str
    family: Family
    distribution: str
    suite: str
    origins: Mapping[str, str]
    glibc: str
    gcc: tuple[str, ...]
    cross_gcc: Mapping[str, tuple[str, ...]]
    ref: str
    eol: EndOfLife | None
    nvidia_repository: NvidiaRepository | None
    releasever: str | None = None
    own_gcc: str | None = None
    repositories: tuple[str, ...] | None = None
    python: str | None = None


def parse_family(name: str, row: Mapping[str, object]) -> Family:
    return Family(
        name=name,
        installer=str(row["installer"]),
        resolver=str(row["resolver"]),
        unpackers=texts(row["unpackers"]),
        directories=cast("Row", row["directories"]),
        bootstrapped=row["bootstrapped"] == "yes",
        ref=str(row["ref"]),
    )


def parse_operating_system(
    name: str, row: Mapping[str, object], families: Mapping[str, Family]
) -> OperatingSystem:
    cross = cast("Mapping[str, object]", row["cross_gcc"])
    origins = cast("Row", row.get("origins", {}))
    fields = cast("Row", row)
    return OperatingSystem(
        name=name,
        family=families[fields["family"]],
        distribution=fields["distribution"],
        suite=fields.get("suite", name),
        origins={docker_arch(arch): origin for arch, origin in origins.items()},
        glibc=fields["glibc"],
        gcc=texts(row["gcc"]),
        cross_gcc={arch: texts(majors) for arch, majors in cross.items()},
        ref=fields["ref"],
        eol=parse_end_of_life(row),
        nvidia_repository=NvidiaRepository(**cast("Row", row["nvidia_repository"]))
        if "nvidia_repository" in row
        else None,
        releasever=fields.get("releasever"),
        own_gcc=fields.get("own_gcc"),
        repositories=texts(row["repositories"]) if "repositories" in row else None,
        python=fields.get("python"),
    )


def parse_distribution(name: str, row: Mapping[str, object]) -> Distribution:
    lists = {key: texts(row[key]) for key in ("origins", "sections", "repositories") if key in row}
    compilers = {
        key: Compiler(**cast("Row", row[key])) for key in ("compiler", "own_compiler") if key in row
    }
    others = {key: value for key, value in row.items() if key not in {*lists, *compilers}}
    return Distribution(name=name, **cast("dict[str, Any]", {**others, **lists, **compilers}))


def parse_end_of_life(row: Mapping[str, object]) -> EndOfLife | None:
    if "eol" not in row:
        return None
    eol = cast("Row", row["eol"])
    return EndOfLife(
        support=date.fromisoformat(eol["support"]),
        ref=str(row["eol_ref"]),
        lts=date.fromisoformat(eol["lts"]) if "lts" in eol else None,
        replacement=eol.get("replacement"),
    )
