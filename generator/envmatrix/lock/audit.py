"""What became of locked packages since: superseded, with a security update, withdrawn, or gone.
Pure: what is offered now is handed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import Artifact, Lock, PackageSet
from envmatrix.lock.versions import DebianVersion
from envmatrix.matrix.targets import machine_called

State = Literal["security", "gone", "yanked", "superseded"]

_FIELD = re.compile(r"^(Package|Version|SHA256): (\S+)", re.MULTILINE)
_DEB = re.compile(r"_(?P<arch>[a-z0-9]+)\.deb$")

# What cannot wait: without a fix, or soon no longer to be had.
URGENT: frozenset[State] = frozenset({"security", "gone", "yanked"})

_DEBIAN = frozenset({"bootstrap", "apt", "apt-files"})
_PYTHON = frozenset({"pip", "wheels", "sdist"})
_NOT_ASKED = {
    "image": "an image by digest: ask whoever publishes it",
    "in-image": "what is in an image by digest: ask whoever publishes it",
    "redist": "NVIDIA's archives have no list of security updates",
    "nvidia-apt": "NVIDIA's repositories have no list of security updates",
    "nvidia-dnf": "NVIDIA's repositories have no list of security updates",
    "dnf": "advisories of the rpm family are not read",
    "zypper": "advisories of the zypper family are not read",
    "git": "a commit does not change: look at the repository",
    "perforce": "a changelist does not change: look at the depot",
    "debian-source": "sources of libraries are not compared with the archive",
    "archive": "an archive by sha256 does not change: look where it is from",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A version of a package that an archive or an index has now."""

    version: str
    sha256: str
    is_yanked: bool = False


Offers = Mapping[str, Sequence[Offer]]


@dataclass(frozen=True, slots=True)
class Archives:
    """What is offered now, by name, of the names asked for: in a suite for an architecture, in the
    security archive of that suite, and in the package index. Each raises LookupFailed where it
    cannot be read, the index Absent where it has no such project."""

    suite: Callable[[str, str, Sequence[str]], Offers]
    security: Callable[[str, str, Sequence[str]], Offers]
    index: Callable[[str], Sequence[Offer]]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A locked package and what became of it; `offered` is the version to take instead, if there
    is one, of `where`."""

    state: State
    package: str
    version: str
    arch: str
    where: str
    offered: str | None = field(compare=False)
    sets: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Audit:
    """`audited` packages were compared; `not_audited` says of sets why they were not."""

    audited: int
    findings: tuple[Finding, ...]
    not_audited: Mapping[str, str]
    failed: tuple[str, ...] = ()

    @property
    def is_urgent(self) -> bool:
        return any(its.state in URGENT for its in self.findings)


def audit(lock: Lock, archives: Archives) -> Audit:
    failed: list[str] = []
    findings = [*_of_suites(lock, archives, failed), *_of_index(lock, archives, failed)]
    asked = {key: its for key, its in lock.sets.items() if _is_asked(its)}
    return Audit(
        len({(its.request.arch, item) for its in asked.values() for item in its.artifacts}),
        tuple(sorted(findings)),
        {
            key: _NOT_ASKED.get(its.request.resolver, "nothing is known of its archive")
            for key, its in sorted(lock.sets.items())
            if key not in asked
        },
        tuple(failed),
    )


def offers_of(shown: str) -> Offers:
    """The versions that apt shows stanzas of."""
    found: dict[str, list[Offer]] = {}
    for stanza in shown.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        if {"Package", "Version", "SHA256"} <= fields.keys():
            offer = Offer(fields["Version"], fields["SHA256"])
            found.setdefault(fields["Package"], []).append(offer)
    return found


def _is_asked(package_set: PackageSet) -> bool:
    return package_set.request.resolver in _DEBIAN | _PYTHON


def _of_suites(lock: Lock, archives: Archives, failed: list[str]) -> Iterator[Finding]:
    """What suites and their security archives say; those that say nothing are added to `failed`."""
    for (suite, arch), packages in _suites(lock).items():
        names = sorted({item.name for item in packages})
        for where, ask, judge in (
            (suite, archives.suite, _in_suite),
            (f"{suite}-security", archives.security, _in_security),
        ):
            try:
                offers = ask(suite, arch, names)
            except LookupFailed as error:
                failed.append(f"{where} for {arch}: {error.message}")
                continue
            for item, keys in packages.items():
                if its := judge(item, offers.get(item.name, ())):
                    state, offered = its
                    yield Finding(state, item.name, item.version, arch, where, offered, keys)


def _of_index(lock: Lock, archives: Archives, failed: list[str]) -> Iterator[Finding]:
    for project, files in _projects(lock).items():
        try:
            listed = archives.index(project)
        except Absent:
            listed = ()
        except LookupFailed as error:
            failed.append(f"{project}: {error.message}")
            continue
        for item, (arch, keys) in files.items():
            if its := _in_index(item, listed):
                state, offered = its
                yield Finding(state, item.name, item.version, arch, "the index", offered, keys)


def _suites(lock: Lock) -> Mapping[tuple[str, str], Mapping[Artifact, tuple[str, ...]]]:
    """The packages of each suite and architecture, each with the sets that have it. A set may have
    packages of another architecture than its own."""
    found: dict[tuple[str, str], dict[Artifact, tuple[str, ...]]] = {}
    for key, its in sorted(lock.sets.items()):
        for item in its.artifacts if its.request.resolver in _DEBIAN else ():
            match = _DEB.search(item.filename)
            machine = machine_called(debian=match["arch"]) if match else None
            arch = machine.docker if machine else its.request.arch
            packages = found.setdefault((str(its.request.suite), arch), {})
            packages[item] = (*packages.get(item, ()), key)
    return found


def _projects(lock: Lock) -> Mapping[str, Mapping[Artifact, tuple[str, tuple[str, ...]]]]:
    found: dict[str, dict[Artifact, tuple[str, tuple[str, ...]]]] = {}
    for key, its in sorted(lock.sets.items()):
        if its.request.resolver in _PYTHON:
            for item in its.artifacts:
                files = found.setdefault(item.name, {})
                _, keys = files.get(item, (its.request.arch, ()))
                files[item] = (its.request.arch, (*keys, key))
    return found


def _newest(offers: Iterable[Offer]) -> Offer | None:
    return max(offers, key=lambda its: DebianVersion(its.version), default=None)


def _in_suite(item: Artifact, offers: Sequence[Offer]) -> tuple[State, str | None] | None:
    newest = _newest(offers)
    offered = newest.version if newest else None
    if not any(item.sha256 == its.sha256 for its in offers):
        return "gone", offered
    if newest and DebianVersion(newest.version) > DebianVersion(item.version):
        return "superseded", offered
    return None


def _in_security(item: Artifact, offers: Sequence[Offer]) -> tuple[State, str | None] | None:
    newest = _newest(offers)
    if newest and DebianVersion(newest.version) > DebianVersion(item.version):
        return "security", newest.version
    return None


def _in_index(item: Artifact, offers: Sequence[Offer]) -> tuple[State, str | None] | None:
    """What is newer counts where it is of the same minor release: which one of those is meant, the
    matrix says."""
    offered = _newest_alike(item.version, offers)
    own = next((its for its in offers if item.sha256 == its.sha256), None)
    if own is None:
        return "gone", offered
    if own.is_yanked:
        return "yanked", offered
    return ("superseded", offered) if offered else None


def _newest_alike(version: str, offers: Sequence[Offer]) -> str | None:
    from packaging.version import InvalidVersion, Version

    own = Version(version)
    found: set[Version] = set()
    for offer in offers:
        try:
            other = Version(offer.version)
        except InvalidVersion:
            continue
        is_alike = other.release[:2] == own.release[:2] and not other.is_prerelease
        if is_alike and other > own and not offer.is_yanked:
            found.add(other)
    return str(max(found)) if found else None
